//! `If-Match` and `If-None-Match`: entity tags, which are modification revisions.

use axum::http::{HeaderMap, HeaderName, header};

use super::problem::Problem;
use crate::types::{Compare, CompareOperator, CompareTarget, KeyRange};

/// Most tags of one header: a cache names those it has.
const TAGS_MAX: usize = 16;

/// What one of the two headers names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Tags {
    /// `*`: any pair there is.
    Any,
    /// Modification revisions.
    Revisions(Vec<u64>),
}

/// The two headers of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Clauses {
    if_match: Option<Tags>,
    if_none_match: Option<Tags>,
}

/// The two headers, by name.
pub(super) const NAMES: [HeaderName; 2] = [header::IF_MATCH, header::IF_NONE_MATCH];

impl Clauses {
    /// Reads them.
    pub(super) fn read(headers: &HeaderMap) -> Result<Self, Problem> {
        let [if_match, if_none_match] = NAMES.map(|name| read_header(headers, &name));
        Ok(Self { if_match: if_match?, if_none_match: if_none_match? })
    }

    pub(super) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether a pair of this modification revision, 0 for none, is excluded by `If-Match`.
    pub(super) fn fails(&self, mod_revision: u64) -> bool {
        self.if_match.as_ref().is_some_and(|tags| !tags.contain(mod_revision))
    }

    /// Whether whoever asks has the pair of this modification revision already.
    pub(super) fn has(&self, mod_revision: u64) -> bool {
        self.if_none_match.as_ref().is_some_and(|tags| tags.contain(mod_revision))
    }

    /// The same as compares of a transaction, which all must hold.
    pub(super) fn compares(&self, key: &[u8]) -> Result<Vec<Compare>, Problem> {
        let compare = |target, operator| Compare {
            range: KeyRange::single(bytes::Bytes::copy_from_slice(key)),
            target,
            operator,
        };
        let mut compares = Vec::new();
        match &self.if_match {
            None => {}
            Some(Tags::Any) => {
                compares.push(compare(CompareTarget::Version(0), CompareOperator::NotEqual));
            }
            Some(Tags::Revisions(revisions)) => {
                let [revision] = revisions[..] else {
                    return Err(Problem::invalid("If-Match on a write names one entity tag"));
                };
                let target = CompareTarget::ModRevision(revision);
                compares.push(compare(target, CompareOperator::Equal));
            }
        }
        match &self.if_none_match {
            None => {}
            Some(Tags::Any) => {
                compares.push(compare(CompareTarget::Version(0), CompareOperator::Equal));
            }
            Some(Tags::Revisions(revisions)) => compares.extend(revisions.iter().map(|revision| {
                compare(CompareTarget::ModRevision(*revision), CompareOperator::NotEqual)
            })),
        }
        Ok(compares)
    }
}

impl Tags {
    fn contain(&self, mod_revision: u64) -> bool {
        match self {
            Self::Any => mod_revision != 0,
            Self::Revisions(revisions) => revisions.contains(&mod_revision),
        }
    }
}

fn read_header(headers: &HeaderMap, name: &HeaderName) -> Result<Option<Tags>, Problem> {
    let mut values = headers.get_all(name).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return match headers.contains_key(name) {
            true => Err(Problem::invalid("If-Match or If-None-Match is sent twice")),
            false => Ok(None),
        };
    };
    let text = value.to_str().unwrap_or_default().trim();
    if text == "*" {
        return Ok(Some(Tags::Any));
    }
    let revisions: Option<Vec<u64>> = text.split(',').map(read_tag).collect();
    match revisions {
        Some(revisions) if revisions.len() <= TAGS_MAX => Ok(Some(Tags::Revisions(revisions))),
        _ => Err(Problem::invalid(
            "If-Match and If-None-Match are `*` or modification revisions in quotes: \"12\"",
        )),
    }
}

/// `"12"`, or `W/"12"`, as proxies that compress make of it.
fn read_tag(text: &str) -> Option<u64> {
    let text = text.trim();
    let text = text.strip_prefix("W/").unwrap_or(text);
    let digits = text.strip_prefix('"')?.strip_suffix('"')?;
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    // A revision of 0 would mean "there is none", which `*` says.
    digits.parse().ok().filter(|revision| is_number && *revision > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(lines: &[(HeaderName, &'static str)]) -> Result<Clauses, Problem> {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(name, value.parse().expect("a value"));
        }
        Clauses::read(&headers)
    }

    #[test]
    fn a_tag_is_a_revision_in_quotes() {
        let clauses = read(&[(header::IF_NONE_MATCH, "\"7\", W/\"8\"")]).expect("two tags");
        assert_eq!([6, 7, 8].map(|revision| clauses.has(revision)), [false, true, true]);
        assert!(!clauses.fails(1));
        for value in ["7", "\"\"", "\"x\"", "\"0\"", "\"-1\"", "\"+1\"", "", "\"1\",", "\"1\" *"] {
            assert!(read(&[(header::IF_MATCH, value)]).is_err(), "{value}");
        }
        let twice = [(header::IF_MATCH, "\"1\""), (header::IF_MATCH, "\"2\"")];
        assert!(read(&twice).is_err());
    }

    #[test]
    fn any_means_that_there_is_a_pair() {
        let clauses = read(&[(header::IF_MATCH, "*")]).expect("read");
        assert_eq!([0, 7].map(|revision| clauses.fails(revision)), [true, false]);
        assert_eq!(clauses.compares(b"k").expect("one").len(), 1);
        assert!(read(&[]).expect("none").is_empty());
    }
}
