use std::error::Error;
use std::fmt;

/// The text of an error, with its causes. Some errors end with the text of their cause, which is not repeated.
pub(crate) struct ErrorChain<'a>(pub(crate) &'a (dyn Error + 'static));

impl fmt::Display for ErrorChain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = self.0.to_string();
        let mut cause = self.0.source();
        while let Some(error) = cause {
            let of_cause = error.to_string();
            if !text.ends_with(&of_cause) {
                text = format!("{text}: {of_cause}");
            }
            cause = error.source();
        }
        f.write_str(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Link(&'static str, Option<Box<Self>>);

    impl fmt::Display for Link {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }
    }

    impl Error for Link {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            self.1.as_deref().map(|cause| cause as _)
        }
    }

    #[test]
    fn a_cause_that_the_error_has_in_its_own_text_is_there_once() {
        let chain = |texts: [&'static str; 3]| {
            let [first, second, third] = texts;
            let third = Link(third, None);
            let second = Link(second, Some(Box::new(third)));
            ErrorChain(&Link(first, Some(Box::new(second)))).to_string()
        };
        assert_eq!(chain(["no answer", "refused", "os error 1"]), "no answer: refused: os error 1");
        assert_eq!(chain(["no answer", "database: gone", "gone"]), "no answer: database: gone");
        assert_eq!(chain(["database: gone", "gone", "os error 1"]), "database: gone: os error 1");
    }
}
