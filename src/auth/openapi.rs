//! A layer as the security of operations in OpenAPI.

use super::AuthLayer;
use super::config::PolicySource;
use super::policy::{Access, Policy};
use crate::credential::{Credentials, OpenApiSecurity};
use crate::error::ConfigError;

impl AuthLayer {
    /// What this layer asks for, as the security of the operations behind it in OpenAPI 3.1.
    ///
    /// | policy | requirements |
    /// |---|---|
    /// | public | `[{}]` |
    /// | a key | one for each place of the keys |
    /// | a user | one for each place of the authenticator; `[{}]` if it looks for a credential itself |
    /// | [`any_of`](Policy::any_of) | those of the key, and those of the user |
    /// | [`all_of`](Policy::all_of) | every pair of one of the key and one of the user, as one object |
    ///
    /// Scopes are in each requirement. The methods, the owner and the key of a policy are not shown. Layers inside each
    /// other have a security each.
    ///
    /// # Errors
    ///
    /// Returns an error if the layer has a policy for each request: [`openapi_of`](Self::openapi_of) takes one. Otherwise
    /// those of `openapi_of`.
    ///
    /// # Examples
    ///
    /// ```
    /// use serde_json::json;
    /// use tower_webhook::auth::AuthLayer;
    /// use tower_webhook::key::{KeyManager, Scope};
    /// use tower_webhook::store::MemoryKeyStore;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let keys = KeyManager::new(MemoryKeyStore::new());
    /// let layer = AuthLayer::header("x-api-key", &keys)?.with_scope(Scope::new("deploy")?)?;
    ///
    /// let security = layer.openapi()?;
    /// assert_eq!(security.requirements(), json!([{"header-x-api-key": ["deploy"]}]));
    /// assert_eq!(security.schemes()["header-x-api-key"]["in"], "header");
    /// assert_eq!(AuthLayer::public().openapi()?.requirements(), json!([{}]));
    /// # Ok(())
    /// # }
    /// ```
    pub fn openapi(&self) -> Result<OpenApiSecurity, ConfigError> {
        match &self.config().source {
            PolicySource::Fixed(policy) => self.openapi_of(policy),
            PolicySource::PerRequest(_) => {
                Err(ConfigError::new("the layer has a policy for each request, and none for all"))
            }
        }
    }

    /// What this layer asks for under a policy: one of those that the [resolver](super::PolicyResolver) of the layer
    /// gives. As [`openapi`](Self::openapi) otherwise.
    ///
    /// # Errors
    ///
    /// Returns an error if a request under the policy would be a 500: its settings contradict each other or the layer, or
    /// it asks for keys or users, and the layer has none.
    ///
    /// # Examples
    ///
    /// ```
    /// use serde_json::json;
    /// use tower_webhook::RequestHead;
    /// use tower_webhook::auth::{AuthLayer, Policy};
    /// use tower_webhook::credential::Placement;
    /// # use tower_webhook::key::KeyManager;
    /// # use tower_webhook::store::MemoryKeyStore;
    ///
    /// fn policy(path: &str) -> Option<Policy> {
    ///     match path {
    ///         "/deploy" => Some(Policy::token()),
    ///         "/health" => Some(Policy::public()),
    ///         _ => None,
    ///     }
    /// }
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let keys = KeyManager::new(MemoryKeyStore::new());
    /// let layer = AuthLayer::per_request(|head: RequestHead<'_>| policy(head.original_path()))
    ///     .with_keys(&keys, [Placement::bearer()])?;
    /// for (path, expected) in [("/deploy", json!([{"bearer": []}])), ("/health", json!([{}]))] {
    ///     let security = layer.openapi_of(&policy(path).ok_or("no such path")?)?;
    ///     assert_eq!(security.requirements(), expected);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn openapi_of(&self, policy: &Policy) -> Result<OpenApiSecurity, ConfigError> {
        let config = self.config();
        let policy = policy.clone().restricted(&config.scopes, config.owner.as_ref());
        policy.check_config()?;
        let keys = || match config.key_credentials() {
            Some(credentials) => Ok(credentials.openapi()),
            None => Err(ConfigError::new("a policy asks for a key, and the layer has no keys")),
        };
        let users = || match &config.users {
            Some(users) => Ok(users
                .credentials
                .as_ref()
                .map_or_else(OpenApiSecurity::unknown, Credentials::openapi)),
            None => Err(ConfigError::new(
                "a policy asks for a user, and the layer has no authenticator",
            )),
        };
        let security = match policy.access() {
            Access::Public => OpenApiSecurity::public(),
            Access::Token => keys()?,
            Access::User => users()?,
            Access::AnyOf => keys()?.or(users()?),
            Access::AllOf => keys()?.and(users()?),
        };
        Ok(security.with_scopes(policy.scopes()))
    }
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;
    use serde_json::json;

    use super::*;
    use crate::BoxError;
    use crate::auth::{Authentication, Authenticator};
    use crate::credential::{Placement, PresentedCredential};
    use crate::key::{KeyManager, Owner, Scope};
    use crate::request_head::RequestHead;
    use crate::store::MemoryKeyStore;

    struct Visitors;

    #[async_trait]
    impl Authenticator for Visitors {
        async fn authenticate(
            &self,
            _head: RequestHead<'_>,
            _candidate: Option<&PresentedCredential<'_>>,
        ) -> Result<Authentication, BoxError> {
            Ok(Authentication::Missing)
        }
    }

    fn keys() -> KeyManager {
        KeyManager::new(MemoryKeyStore::new())
    }

    fn layer() -> AuthLayer {
        AuthLayer::per_request(|_: RequestHead<'_>| None)
            .with_keys(keys(), [Placement::header("x-api-key").unwrap()])
            .unwrap()
            .with_authenticator(Visitors, [Placement::bearer(), Placement::cookie("sid").unwrap()])
            .unwrap()
    }

    #[test]
    fn each_policy_has_its_requirements() {
        let kinds = || [Policy::token(), Policy::user()];
        let cases = [
            (Policy::public(), json!([{}])),
            (Policy::token(), json!([{"header-x-api-key": []}])),
            (Policy::user(), json!([{"bearer": []}, {"cookie-sid": []}])),
            (
                Policy::any_of(kinds()),
                json!([{"header-x-api-key": []}, {"bearer": []}, {"cookie-sid": []}]),
            ),
            (
                Policy::all_of(kinds()),
                json!([
                    {"header-x-api-key": [], "bearer": []},
                    {"header-x-api-key": [], "cookie-sid": []},
                ]),
            ),
        ];
        for (policy, expected) in cases {
            let security = layer().openapi_of(&policy).unwrap();
            assert_eq!(security.requirements(), expected, "{policy:?}");
        }
    }

    #[test]
    fn scopes_of_the_layer_and_of_the_policy_are_shown_once() {
        let scope = |text| Scope::new(text).unwrap();
        let fixed = AuthLayer::bearer(keys()).unwrap().with_scope(scope("a")).unwrap();
        assert_eq!(fixed.openapi().unwrap().requirements(), json!([{"bearer": ["a"]}]));

        let layer = layer().with_scope(scope("a")).unwrap();
        let security = layer.openapi_of(&Policy::token().with_scope(scope("b"))).unwrap();
        assert_eq!(security.requirements(), json!([{"header-x-api-key": ["b", "a"]}]));
    }

    #[test]
    fn an_authenticator_without_places_is_described() {
        let layer = AuthLayer::user(Visitors, []).unwrap();
        let security = layer.openapi().unwrap();
        assert_eq!(security.requirements(), json!([{}]));
        assert!(!security.description().is_empty());
    }

    #[test]
    fn what_would_be_a_500_is_an_error() {
        let ann = |policy: Policy| policy.with_owner(Owner::new("ann").unwrap());
        let public = AuthLayer::public();
        assert!(layer().openapi().is_err());
        assert!(public.openapi_of(&Policy::token()).is_err());
        assert!(public.openapi_of(&Policy::user()).is_err());
        assert!(layer().openapi_of(&Policy::any_of([])).is_err());
        assert!(layer().openapi_of(&ann(Policy::public())).is_err());
        assert!(layer().openapi_of(&ann(Policy::token())).is_ok());
    }
}
