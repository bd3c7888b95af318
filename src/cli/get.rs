//! `get`.
//!
//! A range in key order is read in pages at one revision, so that its length does not matter; as
//! text it is written page by page. Any other order must fit one answer.

use super::arguments::{GetArguments, Global};
use super::failure::CommandError;
use super::json::{RangeJson, print_pair};
use super::terminal::Terminal;
use crate::client::{Client, Error, Range};
use crate::types::{KeyValue, OperationError, RangeAnswer};

pub(super) async fn run(
    global: &Global,
    arguments: GetArguments,
    terminal: &mut Terminal,
) -> Result<(), CommandError> {
    let client = global.client_for_one()?.connect().await?;
    let sort = arguments.sort();
    let style = Style::of(&arguments);
    let limit = arguments.limit;
    let mut range = range_of(&client, arguments);
    if let Some((target, order)) = sort {
        range = range.sort(target, order);
        let answer = range.await.map_err(too_long_to_sort)?;
        if answer.more && (limit == 0 || (answer.kvs.len() as u64) < limit) {
            return Err(CommandError::TooLongToSort);
        }
        print(global, style, terminal, &answer)?;
        return Ok(terminal.flush()?);
    }
    let mut pages = range.pages();
    if global.json() {
        let mut whole = RangeAnswer::default();
        while let Some(page) = pages.next().await? {
            whole = joined(whole, page);
        }
        print(global, style, terminal, &whole)?;
    } else {
        while let Some(page) = pages.next().await? {
            print(global, style, terminal, &page)?;
        }
    }
    Ok(terminal.flush()?)
}

/// What of a pair is written as text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Style {
    Pairs,
    Keys,
    Values,
    Count,
}

impl Style {
    fn of(arguments: &GetArguments) -> Self {
        match arguments {
            GetArguments { count_only: true, .. } => Self::Count,
            GetArguments { keys_only: true, .. } => Self::Keys,
            GetArguments { value_only: true, .. } => Self::Values,
            _ => Self::Pairs,
        }
    }
}

/// The request, without its order.
pub(super) fn range_of(client: &Client, arguments: GetArguments) -> Range {
    let GetArguments { limit, rev, keys_only, count_only, serializable, .. } = arguments;
    let GetArguments { min_mod_rev, max_mod_rev, min_create_rev, max_create_rev, .. } = arguments;
    let mut range = client
        .range(arguments.keys.range())
        .limit(limit)
        .revision(rev)
        .min_mod_revision(min_mod_rev)
        .max_mod_revision(max_mod_rev)
        .min_create_revision(min_create_rev)
        .max_create_revision(max_create_rev);
    if keys_only {
        range = range.keys_only();
    }
    if count_only {
        range = range.count_only();
    }
    if serializable {
        range = range.serializable();
    }
    range
}

fn too_long_to_sort(error: Error) -> CommandError {
    match error.operation() {
        Some(OperationError::AnswerTooLarge { .. }) => CommandError::TooLongToSort,
        _ => error.into(),
    }
}

/// The first page's revision and count hold for the whole; whether there is more, the last one's.
fn joined(mut whole: RangeAnswer, page: RangeAnswer) -> RangeAnswer {
    if whole.revision == 0 {
        return page;
    }
    whole.kvs.extend(page.kvs);
    whole.more = page.more;
    whole
}

fn print(
    global: &Global,
    style: Style,
    terminal: &mut Terminal,
    answer: &RangeAnswer,
) -> Result<(), CommandError> {
    if global.json() {
        return Ok(terminal.json(&RangeJson::from(answer))?);
    }
    if style == Style::Count {
        terminal.line(answer.count.to_string())?;
    }
    for pair in &answer.kvs {
        print_in_style(style, terminal, pair)?;
    }
    Ok(())
}

fn print_in_style(style: Style, terminal: &mut Terminal, pair: &KeyValue) -> std::io::Result<()> {
    match style {
        Style::Pairs => print_pair(terminal, pair),
        Style::Keys => terminal.line(&pair.key),
        Style::Values => terminal.line(&pair.value),
        Style::Count => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_join_to_one_answer() {
        let pair = |key: &'static str| KeyValue {
            key: key.into(),
            value: "v".into(),
            create_revision: 2,
            mod_revision: 2,
            version: 1,
            lease: 0,
        };
        let page = |revision, count, more, key| RangeAnswer {
            revision,
            kvs: vec![pair(key)],
            more,
            count,
        };
        let whole = joined(RangeAnswer::default(), page(5, 2, true, "a"));
        let whole = joined(whole, page(6, 0, false, "b"));
        assert_eq!((whole.revision, whole.count, whole.more), (5, 2, false));
        assert_eq!(whole.kvs, [pair("a"), pair("b")]);
    }
}
