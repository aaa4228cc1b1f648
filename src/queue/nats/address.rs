//! The addresses of servers, and the login in them.

use async_nats::{ConnectOptions, ServerAddr};

use crate::BoxError;
use crate::content::percent_decoded;

/// Takes the login out of the addresses: the client does not use it there, and shows addresses in its log.
pub(super) fn read(addresses: &str) -> Result<(Vec<ServerAddr>, ConnectOptions), BoxError> {
    let (mut servers, mut options) = (Vec::new(), None);
    for address in addresses.split(',') {
        let mut url = address.trim().parse::<ServerAddr>()?.into_inner();
        let user = decoded(url.username());
        let login = match url.password().map(decoded) {
            Some(password) => ConnectOptions::with_user_and_password(user, password),
            None => ConnectOptions::with_token(user),
        };
        if !url.username().is_empty() {
            options.get_or_insert(login);
        }
        let removed = url.set_username("").and_then(|()| url.set_password(None));
        removed.map_err(|()| "the address of a NATS server has no host")?;
        servers.push(ServerAddr::from_url(url)?);
    }
    Ok((servers, options.unwrap_or_default()))
}

fn decoded(text: &str) -> String {
    String::from_utf8_lossy(&percent_decoded(text.as_bytes())).into_owned()
}
