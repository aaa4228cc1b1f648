//! What the query of a list asks for.

use http::Uri;
use tower_webhook::content::form;

/// The parameters of a request. Those that no address reads are ignored, and an empty value counts as absent.
#[derive(Clone, Debug)]
pub(crate) struct Query(Vec<(String, String)>);

/// A part of a list.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Page {
    pub(crate) offset: usize,
    /// `None`: to the end.
    pub(crate) limit: Option<usize>,
}

/// What one parameter asks of a record: the same text, each time that it was sent.
#[derive(Clone, Debug)]
pub(crate) struct Filter(Vec<String>);

impl Query {
    pub(crate) fn of(uri: &Uri) -> Self {
        let pairs = form::pairs(uri.query().unwrap_or_default().as_bytes());
        let pairs = pairs
            .map(|pair| (pair.name_lossy().into_owned(), pair.value_lossy().into_owned()))
            .filter(|(_, value)| !value.is_empty());
        Self(pairs.collect())
    }

    /// What a parameter asks for, as text.
    pub(crate) fn filter(&self, name: &str) -> Filter {
        Filter(self.values(name).map(str::to_owned).collect())
    }

    /// What a parameter asks for, as truth values.
    ///
    /// # Errors
    ///
    /// Refuses anything but `true` and `false`, in any case of letters.
    pub(crate) fn truth(&self, name: &str) -> Result<Vec<bool>, String> {
        let read = |value: &str| match value.to_ascii_lowercase().as_str() {
            "true" => Ok(true),
            "false" => Ok(false),
            _ => Err(format!("the parameter '{name}' is true or false")),
        };
        self.values(name).map(read).collect()
    }

    /// The part of the list that is asked for: without parameters, the whole list.
    ///
    /// # Errors
    ///
    /// Refuses an `offset` below 0, a `limit` that is neither -1 nor above 0, and repeats.
    pub(crate) fn page(&self) -> Result<Page, String> {
        let offset = match self.single("offset")? {
            None => 0,
            Some(text) => number(text).ok_or("the parameter 'offset' is 0 or more")?,
        };
        let limit = match self.single("limit")? {
            None | Some("-1") => None,
            Some(text) => {
                let limit = number(text).filter(|limit| *limit > 0);
                Some(limit.ok_or("the parameter 'limit' is 1 or more, or -1")?)
            }
        };
        Ok(Page { offset, limit })
    }

    fn single<'a>(&'a self, name: &'a str) -> Result<Option<&'a str>, String> {
        let mut values = self.values(name);
        match (values.next(), values.next()) {
            (_, Some(_)) => Err(format!("the parameter '{name}' is there twice")),
            (value, None) => Ok(value),
        }
    }

    fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(other, _)| other == name).map(|(_, value)| value.as_str())
    }
}

impl Filter {
    pub(crate) fn fits(&self, text: &str) -> bool {
        self.0.iter().all(|wanted| wanted == text)
    }

    /// Whether there is something that fits, where there may be nothing.
    pub(crate) fn fits_any(&self, text: Option<&str>) -> bool {
        self.0.is_empty() || text.is_some_and(|text| self.fits(text))
    }

    pub(crate) fn texts(&self) -> &[String] {
        &self.0
    }
}

impl Page {
    /// The elements that are on the page.
    pub(crate) fn of<T>(self, list: Vec<T>) -> Vec<T> {
        list.into_iter().skip(self.offset).take(self.limit.unwrap_or(usize::MAX)).collect()
    }
}

/// Digits alone. What is too large counts as the largest number.
fn number(text: &str) -> Option<usize> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(usize::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(text: &str) -> Query {
        Query::of(&format!("/?{text}").parse().unwrap())
    }

    #[test]
    fn a_page_is_the_whole_list_unless_it_is_limited() {
        let largest = usize::MAX;
        for (text, offset, limit) in [
            ("", 0, None),
            ("limit=-1&offset=0", 0, None),
            ("limit=&offset=", 0, None),
            ("limit=&limit=3", 0, Some(3)),
            ("limit=1&offset=02", 2, Some(1)),
            ("%6Cimit=%31", 0, Some(1)),
            (
                "offset=99999999999999999999999&limit=99999999999999999999999",
                largest,
                Some(largest),
            ),
        ] {
            assert_eq!(query(text).page(), Ok(Page { offset, limit }), "{text}");
        }
        for text in [
            "limit=0",
            "limit=-2",
            "limit=x",
            "limit=1.5",
            "limit=%2B1",
            "limit=+1",
            "limit=1e3",
            "offset=-1",
            "offset=x",
            "limit=1&limit=1",
            "offset=1&offset=2",
        ] {
            assert!(query(text).page().is_err(), "{text}");
        }
    }

    #[test]
    fn a_page_is_cut_out_of_a_list() {
        let cut = |offset, limit| Page { offset, limit }.of(vec![1, 2, 3]);
        assert_eq!(cut(0, None), [1, 2, 3]);
        assert_eq!(cut(1, Some(1)), [2]);
        assert!(cut(3, Some(1)).is_empty());
        assert!(cut(usize::MAX, Some(usize::MAX)).is_empty());
    }

    #[test]
    fn a_filter_wants_the_same_text() {
        let query = query("name=a&pack=&name=&other=x&trigger=a&trigger=b");
        assert!(query.filter("name").fits("a") && !query.filter("name").fits("A"));
        assert!(query.filter("pack").fits("anything"));
        assert!(query.filter("none").fits_any(None) && !query.filter("name").fits_any(None));
        assert!(!query.filter("trigger").fits("a") && !query.filter("trigger").fits("b"));
    }

    #[test]
    fn a_truth_value_has_any_case() {
        assert_eq!(query("enabled=True").truth("enabled"), Ok(vec![true]));
        assert_eq!(query("enabled=fALSE").truth("enabled"), Ok(vec![false]));
        assert_eq!(query("enabled=").truth("enabled"), Ok(vec![]));
        for text in ["enabled=1", "enabled=yes", "enabled=true+"] {
            assert!(query(text).truth("enabled").is_err(), "{text}");
        }
    }
}
