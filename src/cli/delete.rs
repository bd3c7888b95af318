//! `del`.

use super::arguments::{DeleteArguments, Global};
use super::failure::CommandError;
use super::json::{DeleteJson, print_pair};
use super::terminal::Terminal;

pub(super) async fn run(
    global: &Global,
    arguments: DeleteArguments,
    terminal: &mut Terminal,
) -> Result<(), CommandError> {
    let client = global.client_for_one()?.connect().await?;
    let mut delete = client.delete_range(arguments.keys.range());
    if arguments.prev_kv {
        delete = delete.prev_kv();
    }
    let answer = delete.await?;
    if global.json() {
        terminal.json(&DeleteJson::from(&answer))?;
    } else {
        terminal.line(answer.deleted.to_string())?;
        for pair in &answer.prev_kvs {
            print_pair(terminal, pair)?;
        }
    }
    Ok(terminal.flush()?)
}
