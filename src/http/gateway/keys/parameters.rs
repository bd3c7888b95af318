//! The parameters of a read.

use crate::auth::Target;
use crate::http::gateway::problem::Problem;

/// What a query asks of a read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Parameters<'a> {
    pub(super) prefix: Option<&'a [u8]>,
    pub(super) limit: Option<u64>,
    pub(super) revision: u64,
    pub(super) serializable: bool,
}

impl<'a> Parameters<'a> {
    /// Reads them; one that is not known is refused, since it was meant to change something.
    pub(super) fn read(target: &'a Target) -> Result<Self, Problem> {
        let mut parameters = Self::default();
        for (name, value) in target.query() {
            match &name[..] {
                b"prefix" => parameters.prefix = Some(value),
                b"limit" => parameters.limit = Some(number("limit", value)?),
                b"revision" => parameters.revision = number("revision", value)?,
                b"serializable" => parameters.serializable = flag("serializable", value)?,
                // Of a presigned URL, and looked at by the verifier.
                name if name.starts_with(b"X-Amz-") => {}
                name => return Err(unknown(name)),
            }
        }
        Ok(parameters)
    }
}

/// Refuses every parameter.
pub(super) fn none(target: &Target) -> Result<(), Problem> {
    match target.query().first() {
        None => Ok(()),
        Some((name, _)) => Err(unknown(name)),
    }
}

fn unknown(name: &[u8]) -> Problem {
    let name: String = String::from_utf8_lossy(name).chars().take(64).collect();
    Problem::invalid(format!("the parameter {name:?} is not known here"))
}

fn number(name: &str, value: &[u8]) -> Result<u64, Problem> {
    let text = std::str::from_utf8(value).ok();
    let digits = text.filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    let number = digits.and_then(|digits| digits.parse().ok());
    number.ok_or_else(|| Problem::invalid(format!("{name} must be a number")))
}

/// A parameter without a value says yes.
pub(super) fn flag(name: &str, value: &[u8]) -> Result<bool, Problem> {
    match value {
        b"" | b"true" => Ok(true),
        b"false" => Ok(false),
        _ => Err(Problem::invalid(format!("{name} must be true or false"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The parameters as text.
    fn read(target: &str) -> Result<String, Problem> {
        let target = Target::parse(target).expect("a target");
        let Parameters { prefix, limit, revision, serializable } = Parameters::read(&target)?;
        let prefix = prefix.map(String::from_utf8_lossy);
        Ok(format!("{prefix:?} {limit:?} {revision} {serializable}"))
    }

    #[test]
    fn parameters_are_what_they_say() {
        assert_eq!(read("/?X-Amz-Date=x"), Ok("None None 0 false".to_owned()));
        let all = read("/?prefix=a%2F&limit=2&revision=7&serializable");
        assert_eq!(all, Ok(r#"Some("a/") Some(2) 7 true"#.to_owned()));
        for query in ["limt=2", "limit=", "limit=-1", "limit=%2B1", "revision=x", "serializable=1"]
        {
            let refused = read(&format!("/?{query}"));
            assert_eq!(refused.map_err(|problem| problem.code()), Err("InvalidRequest"), "{query}");
        }
        assert!(none(&Target::parse("/").expect("a target")).is_ok());
        assert!(none(&Target::parse("/?limit=1").expect("a target")).is_err());
    }
}
