// Uploads a body some times, and prints a line for each: the status, or the code of the error.

const [url, tries, size, framing] = process.argv.slice(2);
const bytes = Buffer.alloc(Number(size));

function* pieces() {
  for (let start = 0; start < bytes.length; start += 65536) {
    yield bytes.subarray(start, start + 65536);
  }
}

for (let i = 0; i < Number(tries); i++) {
  const chunked = framing === "chunked";
  const body = chunked ? ReadableStream.from(pieces()) : bytes;
  const headers = { "x-api-key": "wrong", "content-type": "application/octet-stream" };
  try {
    const signal = AbortSignal.timeout(20000);
    const response = await fetch(url, { method: "POST", headers, body, duplex: "half", signal });
    await response.arrayBuffer();
    console.log(response.status);
  } catch (error) {
    console.log(error.cause?.code ?? error.name);
  }
}
