//! A page of one origin that calls the API of another one.

use std::process::Stdio;

use axum::Router;
use axum::response::Html;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::process::Command;

use crate::Error;
use crate::server::Server;

/// The page calls the API with a bad key and with a good one, as JSON and as gRPC-web, and writes down what it reads.
fn page(server: &Server) -> String {
    let url = format!("http://{}/api", server.address);
    let key = &server.key;
    format!(
        r#"<!doctype html><title>page</title><pre id="out">nothing yet</pre><script>
async function call(key, type) {{
  const headers = {{"x-api-key": key, "content-type": type}};
  const response = await fetch("{url}", {{method: "POST", headers, body: "{{}}"}});
  const text = await response.text();
  const code = response.headers.get("grpc-status");
  return response.status + " " + (code ?? (text.startsWith("{{") ? JSON.parse(text).code : text));
}}
async function run() {{
  const answers = [];
  for (const [key, type] of [["wrong", "application/json"], ["{key}", "application/json"],
      ["wrong", "application/grpc-web"]]) {{
    answers.push(await call(key, type).catch(error => "error " + error.message));
  }}
  document.getElementById("out").textContent = "read: " + answers.join(", ");
}}
run();
</script>"#
    )
}

pub(crate) async fn check(server: &Server) -> Result<(), Error> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let page = page(server);
    let app = Router::new().route("/", get(move || async { Html(page) }));
    tokio::spawn(async move { axum::serve(listener, app).await });

    let browser = std::env::var("CHROMIUM").unwrap_or_else(|_| "chromium".to_owned());
    let output = Command::new(browser)
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"])
        .args(["--virtual-time-budget=10000", "--dump-dom"])
        .arg(format!("http://{address}/"))
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(std::time::Duration::from_secs(60), output).await??;
    let text = String::from_utf8_lossy(&output.stdout);
    let read = text.split_once("<pre id=\"out\">").and_then(|(_, rest)| rest.split_once("</pre>"));
    let read = read.map_or("", |(read, _)| read);
    println!("browser: {read}");
    if read != "read: 401 unauthorized, 200 ok, 200 16" {
        return Err(format!("the page did not read the answers: {text}").into());
    }
    Ok(())
}
