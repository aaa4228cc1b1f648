use super::*;
use crate::key::MemoryKeyStore;

#[tokio::test]
async fn the_memory_store_keeps_the_contract() {
    check(async || MemoryKeyStore::new()).await;
}
