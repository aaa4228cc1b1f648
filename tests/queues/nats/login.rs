//! Credentials in addresses.

use tower_webhook::queue::NatsQueue;

use super::server::Server;
use super::{claim, enqueue};
use crate::support::Logs;

#[tokio::test]
async fn a_login_in_an_address_is_used_and_not_shown() {
    let logs = Logs::default();
    let _guard = logs.capture();
    let logins = [
        ("authorization { user: ann, password: \"top secret,1\" }", "ann:top%20secret%2C1"),
        ("authorization { token: \"topsecret\" }", "topsecret"),
    ];
    for (settings, login) in logins {
        let server = Server::with("", settings);
        let url = server.url_with(login);
        let away = server.url_with(login).replace("127.0.0.1", "127.0.0.2");
        let queue = NatsQueue::connect(&format!("{away}, {url}")).await.unwrap();
        queue.setup().await.unwrap();
        enqueue(&queue, "a").await;
        assert_eq!(claim(&queue, 1).await.len(), 1);

        let wrong = server.url_with("eve:topsecret2");
        for address in [&wrong, &server.url(), "nats://ann:topsecret@[x"] {
            let error = NatsQueue::connect(address).await.unwrap_err();
            let text = format!("{error:?} {error}");
            assert!(!text.contains("secret"), "{text}");
        }
    }
    assert!(logs.text().contains("connecting"), "{}", logs.text());
    assert!(!logs.text().contains("secret"), "{}", logs.text());
}
