use clap::CommandFactory;

use super::*;

fn parse(line: &[&str]) -> Result<Arguments, clap::Error> {
    Arguments::try_parse_from(std::iter::once(&"chainfire").chain(line))
}

fn get(line: &[&str]) -> GetArguments {
    match parse(line).expect("valid").command {
        Command::Get(get) => get,
        other => panic!("{other:?} is no get"),
    }
}

#[test]
fn the_definition_is_sound() {
    Arguments::command().debug_assert();
}

#[test]
fn durations_are_a_number_and_a_unit() {
    let table = [("500ms", 500), ("10s", 10_000), ("2m", 120_000), ("1h", 3_600_000), ("3", 3_000)];
    for (text, milliseconds) in table {
        assert_eq!(duration(text), Ok(Duration::from_millis(milliseconds)), "{text}");
    }
    for text in ["", "s", "0s", "-1s", "1.5s", "10 s", "10d", "99999999999999999999s"] {
        assert!(duration(text).is_err(), "{text}");
    }
}

#[test]
fn global_options_stand_before_and_after_the_command() {
    for line in [
        &["--endpoints", "a:1,b:2", "-o", "json", "--timeout", "3s", "status"][..],
        &["status", "--endpoints", "a:1,b:2", "--output", "json", "--timeout", "3s"],
    ] {
        let global = parse(line).expect("valid").global;
        assert_eq!(global.endpoints, ["a:1", "b:2"]);
        assert!(global.json());
        assert_eq!(global.timeout, Duration::from_secs(3));
    }
}

#[test]
fn keys_become_ranges_as_in_etcdctl() {
    let table = [
        (&["get", "k"][..], KeyRange::single("k")),
        (&["get", "a", "b"], KeyRange::between("a", "b")),
        (&["get", "--prefix", "a"], KeyRange::prefix("a")),
        (&["get", "", "--prefix"], KeyRange::all()),
        (&["get", "k", "--from-key"], KeyRange::from("k")),
        (&["get", "--from-key", ""], KeyRange::all()),
        (&["get", "--", "-k"], KeyRange::single("-k")),
    ];
    for (line, range) in table {
        assert_eq!(get(line).keys.range(), range, "{line:?}");
    }
}

#[test]
fn orders_are_named_as_in_etcdctl() {
    let table = [
        (&["get", "k"][..], None),
        (&["get", "k", "--order", "ASCEND"], None),
        (&["get", "k", "--order=DESCEND"], Some((SortTarget::Key, SortOrder::Descending))),
        (&["get", "k", "--sort-by=MODIFY"], Some((SortTarget::ModRevision, SortOrder::Ascending))),
        (
            &["get", "k", "--sort-by", "create", "--order", "descend"],
            Some((SortTarget::CreateRevision, SortOrder::Descending)),
        ),
    ];
    for (line, sort) in table {
        assert_eq!(get(line).sort(), sort, "{line:?}");
    }
}

#[test]
fn a_value_may_begin_with_a_dash_after_two_dashes() {
    let Command::Put(put) = parse(&["put", "--prev-kv", "--", "-k", "--v"]).expect("valid").command
    else {
        panic!("no put");
    };
    assert_eq!((put.key, put.value, put.prev_kv), ("-k".into(), Some("--v".into()), true));
}

#[test]
fn wrong_usage_is_one_line_that_names_what_is_wrong() {
    use crate::cli::failure::CommandError;
    let table = [
        (&["get"][..], "<KEY>"),
        (&["get", "a", "b", "--prefix"], "--prefix"),
        (&["get", "k", "--unknown"], "--unknown"),
        (&["get", "k", "--limit", "x"], "--limit"),
        (&["frobnicate"], "frobnicate"),
        (&["put", "k", "v", "--ignore-value"], "--ignore-value"),
        (&["--timeout", "0s", "status"], "--timeout"),
        (&["bench", "watch"], "watch"),
        (&["member"], "a command is missing"),
        (&[], "a command is missing"),
    ];
    for (line, what) in table {
        let error = CommandError::usage_of(&parse(line).expect_err("wrong"));
        assert_eq!(error.code(), 2);
        let text = error.line();
        assert!(text.contains(what) && !text.contains('\n'), "{line:?}: {text}");
        assert!(text.ends_with("see 'chainfire --help'"), "{text}");
    }
}
