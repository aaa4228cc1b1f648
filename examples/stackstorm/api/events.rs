//! Events are listed.

use super::{Answer, Call, Server, list_answer};
use crate::answer::Refusal;

impl Server {
    /// Newest first.
    pub(super) async fn list_events(&self, call: &Call<'_>) -> Answer {
        let query = call.query();
        let page = query.page().map_err(Refusal::invalid)?;
        let triggers = query.filter("trigger");
        let (total, records) = self.storage.events(triggers.texts(), page).await?;
        Ok(list_answer(total, records))
    }
}
