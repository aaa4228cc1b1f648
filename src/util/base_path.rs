use crate::ConfigError;

/// Checks the path at which a service is, and takes the trailing slash away.
pub(crate) fn base_path(path: &str) -> Result<Box<str>, ConfigError> {
    let in_path = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:@!$&'()*+,;=/".contains(&byte);
    if !path.starts_with('/') || path.starts_with("//") || !path.bytes().all(in_path) {
        return Err(ConfigError::new("the base path is no path, or has encoded characters"));
    }
    Ok(path.trim_end_matches('/').into())
}

/// The path of a request without the base path. `None`: it does not begin with it.
pub(crate) fn below<'a>(base: &str, path: &'a str) -> Option<&'a str> {
    path.strip_prefix(base).filter(|rest| rest.is_empty() || rest.starts_with('/'))
}
