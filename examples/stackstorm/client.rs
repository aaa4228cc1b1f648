//! The program as a client: `stackstorm webhook list` and `stackstorm webhook get HOOK`.

use std::ffi::OsString;
use std::io::Write as _;
use std::time::Duration;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use servers::Error;
use tower_webhook::credential::Secret;

use crate::json::{Value, sent};

const USAGE: &str = "usage: stackstorm webhook list|get HOOK [--url URL] [--token T | --api-key K]";

/// What is asked of which server.
#[derive(Debug)]
struct Command {
    /// `None` for the whole list.
    hook: Option<String>,
    url: String,
    credential: Option<(&'static str, Secret)>,
}

/// A hook, as the table shows it.
#[derive(Debug, Eq, Ord, PartialEq, PartialOrd)]
struct Row([String; 3]);

/// Asks a running server about its hooks, and prints a table. `--help` prints the usage.
///
/// # Errors
///
/// The server cannot be reached or refuses. The error does not show the credential.
pub(crate) fn run(arguments: &[OsString]) -> Result<(), Error> {
    if arguments.iter().any(|argument| argument == "--help" || argument == "-h") {
        println!("{USAGE}");
        return Ok(());
    }
    let command = Command::read(arguments)?;
    let answer = ask(&command)?;
    let answer = Value::read(answer.as_bytes())?;
    let hooks = match command.hook {
        None => answer.as_array().ok_or("the answer is no list")?,
        Some(_) => vec![answer],
    };
    let rows: Option<Vec<Row>> = hooks.into_iter().map(Row::read).collect();
    let table = table(rows.ok_or("the answer is no hook")?);
    std::io::stdout().lock().write_all(table.as_bytes())?;
    Ok(())
}

impl Command {
    fn read(arguments: &[OsString]) -> Result<Self, Error> {
        use lexopt::prelude::*;

        let mut words = Vec::new();
        let (mut url, mut token, mut api_key) = ("http://127.0.0.1:3000".to_owned(), None, None);
        let mut parser = lexopt::Parser::from_args(arguments);
        while let Some(argument) = parser.next()? {
            match argument {
                Long("url") => url = parser.value()?.string()?,
                Long("token") => token = Some(secret(&mut parser)?),
                Long("api-key") => api_key = Some(secret(&mut parser)?),
                Value(word) => words.push(word.string()?),
                _ => return Err(USAGE.into()),
            }
        }
        let hook = match words.as_slice() {
            [verb] if verb == "list" => None,
            [verb, hook] if verb == "get" && !hook.is_empty() => Some(hook.clone()),
            _ => return Err(USAGE.into()),
        };
        let credential = match (token, api_key) {
            (Some(_), Some(_)) => return Err("give a token or an API key, not both".into()),
            (Some(token), None) => Some(("x-auth-token", token)),
            (None, Some(key)) => Some(("st2-api-key", key)),
            (None, None) => None,
        };
        Ok(Self { hook, url, credential })
    }

    fn target(&self) -> String {
        let base = self.url.trim_end_matches('/');
        match &self.hook {
            None => format!("{base}/v1/webhooks"),
            Some(hook) => {
                format!("{base}/v1/webhooks/{}", utf8_percent_encode(hook, NON_ALPHANUMERIC))
            }
        }
    }
}

/// A value that no error of the parser shows.
fn secret(parser: &mut lexopt::Parser) -> Result<Secret, Error> {
    let text = parser.value()?.into_string().map_err(|_| "a credential is text")?;
    Ok(Secret::new(text))
}

fn ask(command: &Command) -> Result<String, Error> {
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .proxy(None)
        .timeout_global(Some(Duration::from_secs(30)))
        .build()
        .into();
    let mut request = agent.get(command.target());
    if let Some((header, secret)) = &command.credential {
        request = request.header(*header, secret.expose_secret());
    }
    let mut response = request
        .call()
        .map_err(|error| format!("{}: {error} (another server: --url URL)", command.url))?;
    let status = response.status();
    let text = response.body_mut().read_to_string()?;
    if status.is_success() {
        return Ok(text);
    }
    let reason = Value::read(text.as_bytes()).ok().and_then(Value::as_object);
    let reason = reason.and_then(|members| sent(&members, "faultstring")?.as_text());
    Err(format!("{status}: {}", one_line(&reason.unwrap_or_default())).into())
}

impl Row {
    fn read(hook: Value<'_>) -> Option<Self> {
        let members = hook.as_object()?;
        let text = |name| Some(one_line(&sent(&members, name)?.as_text()?));
        let parameters = sent(&members, "parameters")?.as_object()?;
        let url = sent(&parameters, "url")?.as_text()?;
        Some(Self([one_line(&url), text("type")?, text("description")?]))
    }
}

/// A heading and a line for each row, by url.
fn table(mut rows: Vec<Row>) -> String {
    rows.sort();
    rows.insert(0, Row(["url", "type", "description"].map(str::to_owned)));
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|Row(cells)| cells.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or_default()
    };
    let (first, second) = (width(0), width(1));
    let line = |Row([url, kind, description]): &Row| {
        let line = format!("{url:first$}  {kind:second$}  {description}");
        format!("{}\n", line.trim_end())
    };
    rows.iter().map(line).collect()
}

/// The text without characters that would end a line or steer a terminal.
fn one_line(text: &str) -> String {
    let plain = |c: char| if c.is_control() || c.is_whitespace() { ' ' } else { c };
    text.chars().map(plain).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(arguments: &[&str]) -> Result<Command, Error> {
        Command::read(&arguments.iter().map(OsString::from).collect::<Vec<_>>())
    }

    #[test]
    fn a_command_names_its_target() {
        for (arguments, target) in [
            (&["list"][..], "http://127.0.0.1:3000/v1/webhooks"),
            (&["--token", "t", "list", "--url", "http://h:1/"], "http://h:1/v1/webhooks"),
            (&["get", "my/hook"], "http://127.0.0.1:3000/v1/webhooks/my%2Fhook"),
        ] {
            assert_eq!(command(arguments).unwrap().target(), target);
        }
    }

    #[test]
    fn other_commands_are_refused() {
        for arguments in [
            &[][..],
            &["get"],
            &["get", ""],
            &["get", "a", "b"],
            &["list", "a"],
            &["delete", "a"],
            &["list", "--token"],
            &["list", "--listen", "x"],
            &["list", "--token", "t", "--api-key", "k"],
        ] {
            assert!(command(arguments).is_err(), "{arguments:?}");
        }
    }

    #[test]
    fn a_table_has_a_line_for_each_hook() {
        let row = |url: &str, description: &str| {
            Row([one_line(url), "core.st2.webhook".to_owned(), one_line(description)])
        };
        let rows = vec![row("sample", "two\nlines \u{1b}[0m"), row("a/b", "")];
        assert_eq!(
            table(rows),
            "url     type              description\n\
             a/b     core.st2.webhook\n\
             sample  core.st2.webhook  two lines  [0m\n"
        );
    }
}
