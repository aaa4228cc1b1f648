//! The nodes that walkers enter.

use std::collections::HashMap;

use tower_webhook::key::{InvalidId, Owner};

use crate::config::Config;

/// The configured nodes, and a root for each user.
#[derive(Debug)]
pub(crate) struct Graph(HashMap<String, Node>);

/// A node in its stored form.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    id: String,
    /// `None` for a root.
    r#type: Option<String>,
    owner: Owner,
}

impl Graph {
    /// Keys and nodes belong to a user by the id of the user's root.
    pub(crate) fn new(config: &Config) -> Result<Self, InvalidId> {
        let mut nodes = HashMap::new();
        for user in &config.users {
            let (id, owner) = (user.root_id.clone(), Owner::new(&user.root_id)?);
            nodes.insert(id.clone(), Node { id, r#type: None, owner });
        }
        for node in &config.nodes {
            let Some(user) = config.user(&node.owner) else { continue };
            let (id, owner) = (node.id.clone(), Owner::new(&user.root_id)?);
            nodes.insert(id.clone(), Node { id, r#type: Some(node.r#type.clone()), owner });
        }
        Ok(Self(nodes))
    }

    /// The root of an owner. There is none for one who is not configured any more.
    pub(crate) fn root(&self, owner: &Owner) -> Option<&Node> {
        self.0.get(owner.as_str()).filter(|node| node.r#type.is_none())
    }

    /// The node of a reference `n:<type>:<id>`. The id alone selects.
    pub(crate) fn find(&self, reference: &str) -> Option<&Node> {
        let mut parts = reference.split(':');
        match (parts.next(), parts.next(), parts.next(), parts.next()) {
            (Some("n"), Some(_), Some(id), None) => self.0.get(id),
            _ => None,
        }
    }
}

impl Node {
    /// The type by which keys are limited.
    pub(crate) fn r#type(&self) -> &str {
        self.r#type.as_deref().unwrap_or("root")
    }

    pub(crate) fn belongs_to(&self, owner: &Owner) -> bool {
        self.owner == *owner
    }

    /// `n:<type>:<id>`, and `n::<id>` for a root.
    pub(crate) fn reference(&self) -> String {
        format!("n:{}:{}", self.r#type.as_deref().unwrap_or_default(), self.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOT: &str = "65f0a1b2c3d4e5f6a7b8c9d0";
    const NODE: &str = "85f0a1b2c3d4e5f6a7b8c9d2";

    fn graph() -> Graph {
        let text = format!(
            r#"{{"users": [{{"name": "ann", "token": "t", "root_id": "{ROOT}"}}],
                "nodes": [{{"id": "{NODE}", "type": "Nd", "owner": "ann"}}]}}"#
        );
        Graph::new(&Config::parse(&text).unwrap()).unwrap()
    }

    #[test]
    fn the_id_selects_and_the_stored_type_counts() {
        let graph = graph();
        for r#type in ["", "root", "Nd", "é x"] {
            let root = graph.find(&format!("n:{type}:{ROOT}")).unwrap();
            assert_eq!((root.reference(), root.r#type()), (format!("n::{ROOT}"), "root"));
            let node = graph.find(&format!("n:{type}:{NODE}")).unwrap();
            assert_eq!((node.reference(), node.r#type()), (format!("n:Nd:{NODE}"), "Nd"));
        }
    }

    #[test]
    fn anything_else_names_nothing() {
        let upper = NODE.to_uppercase();
        for reference in ["", "n", "n:", "n::", NODE, "n:Nd:zz", &format!("N:Nd:{NODE}")] {
            assert!(graph().find(reference).is_none(), "{reference}");
        }
        for reference in [
            format!("n:Nd:{upper}"),
            format!("n:a:b:{NODE}"),
            format!("n:Nd:{NODE}:"),
            format!("n:{NODE}"),
        ] {
            assert!(graph().find(&reference).is_none(), "{reference}");
        }
    }

    #[test]
    fn a_node_is_nobodys_root() {
        assert!(graph().root(&Owner::new(ROOT).unwrap()).is_some());
        assert!(graph().root(&Owner::new(NODE).unwrap()).is_none());
    }
}
