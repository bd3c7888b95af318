//! `del`.

use std::sync::{Arc, Mutex, PoisonError};

use super::arguments::{DeleteArguments, Global};
use super::failure::CommandError;
use super::json::{DeleteJson, print_pair};
use super::terminal::{Progress, Terminal};

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
    // Shown only for a delete of so many keys that the node says how far it is.
    let shown: Arc<Mutex<Option<Progress>>> = Arc::default();
    let progress = Arc::clone(&shown);
    let delete = delete.progress(move |deleted| {
        let mut progress = progress.lock().unwrap_or_else(PoisonError::into_inner);
        progress.get_or_insert_with(|| Progress::start("keys deleted", None)).set(deleted);
    });
    let answered = delete.await;
    if let Some(mut progress) = shown.lock().unwrap_or_else(PoisonError::into_inner).take() {
        if let Ok(answer) = &answered {
            progress.set(answer.deleted);
        }
        progress.finish();
    }
    let answer = answered?;
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
