//! Which clients see the refusal of an upload that they have not finished.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::process::Command;

use crate::server::Server;
use crate::{Error, proxy};

const SIZE: usize = 20 * 1024 * 1024;

/// How often each answer came: a status, or the name of an error.
type Answers = BTreeMap<String, usize>;

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Client {
    Curl,
    /// With the header that its users turn off by `-H Expect:`.
    CurlWithExpect,
    CurlHttp2,
    PythonHttp,
    PythonRequests,
    Node,
    Reqwest,
    ReqwestHttp2,
}

impl Client {
    const ALL: [Self; 8] = [
        Self::Curl,
        Self::CurlWithExpect,
        Self::PythonHttp,
        Self::PythonRequests,
        Self::Node,
        Self::Reqwest,
        Self::CurlHttp2,
        Self::ReqwestHttp2,
    ];
}

#[derive(Clone, Copy, Debug)]
enum Framing {
    /// `Content-Length`.
    Length,
    Chunked,
}

/// One row of the table.
struct Row<'a> {
    client: Client,
    framing: Framing,
    url: String,
    tries: usize,
    file: &'a Path,
}

pub(crate) async fn check(server: &Server, tries: usize) -> Result<(), Error> {
    let folder = std::env::temp_dir().join(format!("clients-{}", std::process::id()));
    fs::create_dir_all(&folder)?;
    let file = folder.join("upload");
    fs::write(&file, vec![0; SIZE])?;
    let result = check_with(server, tries, &file).await;
    fs::remove_dir_all(&folder)?;
    result
}

async fn check_with(server: &Server, tries: usize, file: &Path) -> Result<(), Error> {
    let far = proxy::start(server.address, Duration::from_millis(20)).await?;
    println!(
        "| client | body | way | layer | status | seen | else |\n|---|---|---|---|---|---|---|"
    );
    let mut failed = Vec::new();
    let mut lost_without_layer = 0;
    for client in Client::ALL {
        // It waits for the response under every layer.
        let tries = if client == Client::CurlWithExpect { tries.div_ceil(5) } else { tries };
        for (address, way, tries) in
            [(server.address, "direct", tries), (far, "20 ms", tries.div_ceil(5))]
        {
            for (path, framing, status) in [
                ("/auth/after", Framing::Length, "401"),
                ("/hooks/after", Framing::Chunked, "401"),
                ("/size/after", Framing::Length, "413"),
            ] {
                let row = row(client, framing, address, path, tries, file);
                let seen = print(&row, way, "drain", status).await?;
                if seen * 100 < tries * 99 {
                    failed.push(format!("{client:?} {path} {way}: {seen} of {tries}"));
                }
            }
            let few = tries.div_ceil(4);
            // The control: without the layer some clients see a broken connection.
            for (path, status) in [("/auth/before", "401"), ("/size/before", "413")] {
                let row = row(client, Framing::Length, address, path, few, file);
                lost_without_layer += few - print(&row, way, "none", status).await?;
            }
            // A client that sends before it reads waits for the deadline here.
            let few = tries.div_ceil(20);
            let row = row(client, Framing::Length, address, "/auth/default", few, file);
            print(&row, way, "1 MiB, 1 s", "401").await?;
        }
    }
    if lost_without_layer == 0 {
        failed.push("every response was seen without the layer: nothing is measured".to_owned());
    }
    if failed.is_empty() { Ok(()) } else { Err(failed.join("\n").into()) }
}

fn row<'a>(
    client: Client,
    framing: Framing,
    address: SocketAddr,
    path: &str,
    tries: usize,
    file: &'a Path,
) -> Row<'a> {
    Row { client, framing, url: format!("http://{address}{path}"), tries, file }
}

/// How many clients saw the status.
async fn print(row: &Row<'_>, way: &str, layer: &str, status: &str) -> Result<usize, Error> {
    let began = Instant::now();
    let mut answers = row.run().await?;
    let seen = answers.remove(status).unwrap_or_default();
    println!(
        "| {:?} | {:?} | {way} | {layer} | {status} | {seen} of {} | {answers:?} {:.1} s |",
        row.client,
        row.framing,
        row.tries,
        began.elapsed().as_secs_f64()
    );
    Ok(seen)
}

impl Row<'_> {
    async fn run(&self) -> Result<Answers, Error> {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
        let framing = match self.framing {
            Framing::Length => "length",
            Framing::Chunked => "chunked",
        };
        let (tries, size) = (self.tries.to_string(), SIZE.to_string());
        let script = |program: &str, file: &str| {
            let mut command = Command::new(program);
            command.arg(folder.join(file));
            command
        };
        let python = std::env::var("PYTHON").unwrap_or_else(|_| "python3".to_owned());
        match self.client {
            Client::Curl => self.curl(&["-H", "Expect:"]).await,
            Client::CurlWithExpect => self.curl(&["-H", "Expect: 100-continue"]).await,
            Client::CurlHttp2 => self.curl(&["--http2-prior-knowledge"]).await,
            Client::PythonHttp => {
                let mut command = script(&python, "upload.py");
                command.args(["http.client", &self.url, &tries, &size, framing]);
                lines(command).await
            }
            Client::PythonRequests => {
                let mut command = script(&python, "upload.py");
                command.args(["requests", &self.url, &tries, &size, framing]);
                lines(command).await
            }
            Client::Node => {
                let mut command = script("node", "upload.mjs");
                command.args([&self.url, &tries, &size, framing]);
                lines(command).await
            }
            Client::Reqwest => self.reqwest(reqwest::Client::builder()).await,
            Client::ReqwestHttp2 => {
                self.reqwest(reqwest::Client::builder().http2_prior_knowledge()).await
            }
        }
    }

    async fn curl(&self, arguments: &[&str]) -> Result<Answers, Error> {
        let mut answers = Answers::new();
        for _ in 0..self.tries {
            let mut command = Command::new("curl");
            command.args(["-s", "-o", "/dev/null", "-w", "%{http_code} %{exitcode}"]);
            command.args(["--max-time", "20", "-H", "x-api-key: wrong", "--data-binary"]);
            command.arg(format!("@{}", self.file.display())).args(arguments).arg(&self.url);
            // HTTP/2 has no transfer coding.
            if matches!(self.framing, Framing::Chunked) && self.client != Client::CurlHttp2 {
                command.args(["-H", "Transfer-Encoding: chunked"]);
            }
            let output = command.stdin(Stdio::null()).output().await?;
            let text = String::from_utf8(output.stdout)?;
            let answer = match text.split_once(' ') {
                Some((status, "0")) => status.to_owned(),
                _ => format!("status and exit code {text}"),
            };
            *answers.entry(answer).or_default() += 1;
        }
        Ok(answers)
    }

    async fn reqwest(&self, builder: reqwest::ClientBuilder) -> Result<Answers, Error> {
        let client = builder.timeout(Duration::from_secs(20)).build()?;
        let mut answers = Answers::new();
        for _ in 0..self.tries {
            let body = Bytes::from(vec![0; SIZE]);
            let body = match self.framing {
                Framing::Length => reqwest::Body::from(body),
                Framing::Chunked => {
                    let pieces: Vec<_> = body
                        .chunks(65_536)
                        .map(|piece| Ok::<_, Error>(body.slice_ref(piece)))
                        .collect();
                    reqwest::Body::wrap_stream(tokio_stream::iter(pieces))
                }
            };
            let answer =
                client.post(&self.url).header("x-api-key", "wrong").body(body).send().await;
            let answer = match answer {
                Ok(response) => response.status().as_u16().to_string(),
                Err(error) => format!("{error:?}").chars().take(60).collect(),
            };
            *answers.entry(answer).or_default() += 1;
        }
        Ok(answers)
    }
}

/// One answer on each line of the output.
async fn lines(mut command: Command) -> Result<Answers, Error> {
    let output = command.stdin(Stdio::null()).stderr(Stdio::inherit()).output().await?;
    if !output.status.success() {
        return Err(format!("{command:?} ended with {}", output.status).into());
    }
    let mut answers = Answers::new();
    for line in String::from_utf8(output.stdout)?.lines() {
        *answers.entry(line.to_owned()).or_default() += 1;
    }
    Ok(answers)
}
