//! The tokens of stacks: one for each, made and kept by the library's manager of keys.
//!
//! The record of a token has the id `stack-<id>`. In it are the digest that a presented token is compared with
//! and the sealed text that the owner is shown, so that the two change together.
//!
//! Whether a stack has a token is written in the stack, before there is a token. A caller that then looks for one that
//! is not there yet makes it. A process that is killed in between thereby loses nothing.

use std::time::Duration;

use servers::{DataFolder, Error};
use tokio::sync::Mutex;
use tower_webhook::credential::Secret;
use tower_webhook::key::{
    KeyHasher, KeyManager, KeyVerifier, ManageError, ManageErrorKind, NewKey, Pepper, SealingKeys,
    TokenFormat,
};
use tower_webhook::store::SqliteKeyStore;

use crate::stacks::Stack;

/// The tokens of all stacks.
#[derive(Debug)]
pub(crate) struct Tokens {
    keys: KeyManager,
    /// Refreshes wait for their turn. The store would let one of those at the same time through and have all
    /// others try again.
    refreshing: Mutex<()>,
}

impl Tokens {
    pub(crate) async fn open(folder: &DataFolder) -> Result<Self, Error> {
        let store = SqliteKeyStore::open(&folder.file("tokens.db")).await?;
        // A token of a configuration may be short: its digest alone must not give it away.
        let pepper = Pepper::new("data", folder.key_material("pepper")?)?;
        let keys = KeyManager::new(store)
            .with_format(TokenFormat)
            .with_hasher(KeyHasher::peppered(pepper))
            .with_recoverable(SealingKeys::new(folder.key_material("sealing-key")?));
        Ok(Self { keys, refreshing: Mutex::default() })
    }

    /// What decides about a presented token.
    pub(crate) fn verifier(&self) -> KeyVerifier {
        // A disk that is busy with changes delays look-ups.
        self.keys.verifier().with_store_deadline(Duration::from_secs(5))
    }

    /// Takes over the token of a configuration. One that an import left behind which was cut short is replaced.
    pub(crate) async fn import(&self, stack: &Stack, token: &str) -> Result<(), ManageError> {
        let import = || self.keys.import(&stack.account, Secret::new(token), new_key(stack));
        match import().await {
            Err(error) if error.kind() == ManageErrorKind::Conflict => {
                self.keys.delete(&stack.account, std::slice::from_ref(&stack.key)).await?;
                import().await.map(drop)
            }
            imported => imported.map(drop),
        }
    }

    /// The token of a stack, if it has one.
    pub(crate) async fn of(&self, stack: &Stack) -> Result<Option<Secret>, ManageError> {
        if !stack.settings.has_token {
            return Ok(None);
        }
        match self.keys.recover(&stack.account, &stack.key).await {
            Err(error) if error.kind() == ManageErrorKind::NotFound => {}
            token => return token.map(Some),
        }
        match self.keys.generate(&stack.account, new_key(stack)).await {
            // Another call was first.
            Err(error) if error.kind() == ManageErrorKind::Conflict => {
                self.keys.recover(&stack.account, &stack.key).await.map(Some)
            }
            issued => issued.map(|issued| Some(issued.into_parts().1)),
        }
    }

    /// Replaces the token of a stack that has one. The old one stops at once.
    pub(crate) async fn refresh(&self, stack: &Stack) -> Result<Secret, ManageError> {
        let _turn = self.refreshing.lock().await;
        let rotate = || self.keys.rotate(&stack.account, &stack.key, time::Duration::ZERO);
        let rotated = match rotate().await {
            Err(error) if error.kind() == ManageErrorKind::NotFound => {
                match self.keys.generate(&stack.account, new_key(stack)).await {
                    Err(error) if error.kind() == ManageErrorKind::Conflict => rotate().await,
                    generated => generated,
                }
            }
            rotated => rotated,
        };
        Ok(rotated?.into_parts().1)
    }
}

/// A token may do everything that can be done with it, which is to call its hook.
fn new_key(stack: &Stack) -> NewKey {
    NewKey::new("webhook token").with_id(stack.key.clone())
}
