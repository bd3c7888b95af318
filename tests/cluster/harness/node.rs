//! One node: a process, its ports and its directory.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;

use super::PATIENCE;
use super::keys::cluster_key_file;
use super::ports::free_address;

/// How many lines of a node's log a failing test shows.
const LOG_LINES_SHOWN: usize = 60;

/// The variable that names the place to stop at.
const CRASH_POINT: &str = "CHAINFIRE_CRASH_POINT";

/// One node. Its process is killed when this is dropped; its directory stays with the cluster.
pub struct Node {
    pub name: String,
    pub client: SocketAddr,
    pub peer: SocketAddr,
    pub http: SocketAddr,
    pub data_dir: PathBuf,
    log: PathBuf,
    initial_cluster: Option<String>,
    /// None = it runs without authentication.
    cluster_key: Option<PathBuf>,
    own_keys: bool,
    join: Option<(&'static str, String)>,
    /// What it is started with instead of all of the above.
    command: Option<Vec<String>>,
    environment: Vec<(String, String)>,
    config: Option<PathBuf>,
    process: Option<Process>,
}

struct Process {
    child: Child,
    output: Arc<Output>,
    reader: JoinHandle<()>,
}

/// The lines a process printed so far.
#[derive(Default)]
struct Output {
    lines: Mutex<Lines>,
    changed: Condvar,
}

#[derive(Default)]
struct Lines {
    lines: Vec<String>,
    ended: bool,
}

impl Node {
    /// A node that was not started yet, with its files under `directory`.
    pub fn new(name: &str, directory: &Path) -> Self {
        Self {
            name: name.to_owned(),
            client: free_address(),
            peer: free_address(),
            http: free_address(),
            data_dir: directory.join(name),
            log: directory.join(format!("{name}.log")),
            initial_cluster: None,
            cluster_key: Some(cluster_key_file().to_owned()),
            own_keys: false,
            join: None,
            command: None,
            environment: Vec::new(),
            config: None,
            process: None,
        }
    }

    /// A node whose directory is there already.
    pub fn at(name: &str, directory: &Path, data_dir: &Path) -> Self {
        let mut node = Self::new(name, directory);
        node.data_dir = data_dir.to_owned();
        node
    }

    /// Has it started by a printed command, with what is this machine's own added.
    pub fn set_command(&mut self, command: &str) {
        let arguments = command.strip_prefix("chainfire serve ").expect("a command to serve");
        self.command = Some(arguments.split(' ').map(str::to_owned).collect());
    }

    /// Names the founders it is started with.
    pub fn set_initial_cluster(&mut self, founders: &str) {
        self.initial_cluster = Some(founders.to_owned());
    }

    /// Names no founders: its directory knows its cluster.
    pub fn clear_initial_cluster(&mut self) {
        self.initial_cluster = None;
    }

    /// Gives it another key file than all other nodes.
    pub fn set_cluster_key(&mut self, file: &Path) {
        self.cluster_key = Some(file.to_owned());
    }

    /// Gives it no key file: it makes its own keys.
    pub fn set_own_keys(&mut self) {
        self.own_keys = true;
    }

    /// Has it join nobody: its directory knows its cluster.
    pub fn clear_join(&mut self) {
        self.join = None;
    }

    /// Has it run without authentication.
    pub fn set_insecure(&mut self) {
        self.cluster_key = None;
    }

    /// Has it listen for peers elsewhere from its next start on.
    pub fn move_peer(&mut self) {
        self.peer = free_address();
    }

    /// Has it join through these members.
    pub fn set_join(&mut self, members: &str) {
        self.join = Some(("--join", members.to_owned()));
    }

    /// Has it take a snapshot from these members and wait.
    pub fn set_bootstrap_from(&mut self, members: &str) {
        self.join = Some(("--bootstrap-from", members.to_owned()));
    }

    /// Has it stop at a named place, to be killed there; none = not.
    pub fn set_crash_point(&mut self, place: Option<&str>) {
        self.environment.retain(|(name, _)| name != CRASH_POINT);
        let place = place.map(|place| (CRASH_POINT.to_owned(), place.to_owned()));
        self.environment.extend(place);
    }

    /// Sets a variable of its environment, from its next start on.
    pub fn set_environment(&mut self, name: &str, value: &str) {
        self.environment.retain(|(known, _)| known != name);
        self.environment.push((name.to_owned(), value.to_owned()));
    }

    /// Has its files end at `bytes` from now on, as a full disk has; none = as long as they like.
    pub fn limit_files(&self, bytes: Option<u64>) {
        let limit = bytes.map_or("unlimited".to_owned(), |bytes| bytes.to_string());
        let limit = format!("--fsize={limit}:");
        let pid = self.pid().to_string();
        let limited = Command::new("prlimit").args(["--pid", &pid, &limit]).status();
        assert!(limited.expect("prlimit is there").success(), "{limit} for {}", self.name);
    }

    /// Gives it a configuration file with this text.
    pub fn set_config(&mut self, text: &str) {
        let path = self.log.with_extension("toml");
        fs::write(&path, text).expect("a writable directory");
        self.config = Some(path);
    }

    /// The process id of the running node.
    pub fn pid(&self) -> u32 {
        self.process.as_ref().expect("the node runs").child.id()
    }

    /// Whether it was started and not yet seen to end.
    pub fn is_running(&self) -> bool {
        self.process.is_some()
    }

    /// Starts the process. [`wait_ready`](Self::wait_ready) says when it serves.
    pub fn start(&mut self) {
        assert!(self.process.is_none(), "{} runs already", self.name);
        let log = File::options().create(true).append(true).open(&self.log);
        // A file at its limit is a failed write, not a signal that ends the process.
        let mut command = Command::new("sh");
        command
            .args(["-c", "trap '' XFSZ; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_chainfire")])
            .arg("serve")
            .args(["--listen-client", &self.client.to_string()])
            .args(["--listen-peer", &self.peer.to_string()])
            .args(["--listen-http", &self.http.to_string()]);
        match &self.command {
            Some(arguments) => drop(command.args(arguments)),
            None => self.name_its_place(&mut command),
        }
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        if let Some(config) = &self.config {
            command.arg("--config").arg(config);
        }
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log.expect("a writable directory"))
            .spawn()
            .expect("the binary starts");
        let output = Arc::new(Output::default());
        let printed = output.clone();
        let pipe = BufReader::new(child.stdout.take().expect("it is piped"));
        let reader = std::thread::spawn(move || printed.follow(pipe));
        self.process = Some(Process { child, output, reader });
    }

    /// Which node of which cluster it is.
    fn name_its_place(&self, command: &mut Command) {
        command.args(["--name", &self.name]).arg("--data-dir").arg(&self.data_dir);
        match &self.cluster_key {
            _ if self.own_keys => &mut *command,
            Some(file) => command.arg("--cluster-key").arg(file),
            None => command.arg("--insecure-no-auth"),
        };
        if let Some(founders) = &self.initial_cluster {
            command.args(["--initial-cluster", founders]);
        }
        if let Some((flag, members)) = &self.join {
            command.args([flag, members.as_str()]);
        }
    }

    /// Waits for the line that says that the node serves.
    pub fn wait_ready(&self) {
        let process = self.process.as_ref().expect("the node was started");
        if !process.output.wait_for(|line| line.starts_with("ready")) {
            panic!("{} is not ready; its log ends with\n{}", self.name, self.log_tail());
        }
    }

    /// Waits for a line of its output that starts so.
    pub fn wait_line(&self, start: &str) {
        let process = self.process.as_ref().expect("the node was started");
        if !process.output.wait_for(|line| line.starts_with(start)) {
            panic!(
                "{} does not print {start:?}; its log ends with\n{}",
                self.name,
                self.log_tail()
            );
        }
    }

    /// Ends it at once, as a power cut would end the process: SIGKILL.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            // Fails only when the process has ended already.
            let _ = process.child.kill();
            process.wait();
        }
    }

    /// Asks it to end: SIGTERM. Answers how it did.
    pub fn terminate(&mut self) -> ExitStatus {
        self.signal("TERM");
        self.wait_exit()
    }

    /// Waits for the process to end by itself.
    pub fn wait_exit(&mut self) -> ExitStatus {
        let process = self.process.take().expect("the node runs");
        if !process.output.wait_for_end() {
            // Put it back: dropping the node ends it.
            self.process = Some(process);
            panic!("{} does not end; its log ends with\n{}", self.name, self.log_tail());
        }
        process.wait()
    }

    /// Starts it again on the same directory and waits until it serves.
    pub fn restart(&mut self) {
        self.kill();
        self.start();
        self.wait_ready();
    }

    /// Freezes the process: SIGSTOP.
    pub fn pause(&self) {
        self.signal("STOP");
    }

    /// Lets a frozen process go on: SIGCONT.
    pub fn resume(&self) {
        self.signal("CONT");
    }

    fn signal(&self, signal: &str) {
        let pid = self.pid().to_string();
        let sent = Command::new("kill").args([&format!("-{signal}"), &pid]).status();
        assert!(sent.expect("kill is there").success(), "SIG{signal} to {}", self.name);
    }

    /// What the node wrote to standard error so far, over all its starts.
    pub fn log(&self) -> String {
        fs::read(&self.log)
            .map(|log| String::from_utf8_lossy(&log).into_owned())
            .unwrap_or_default()
    }

    fn log_tail(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(LOG_LINES_SHOWN)..].join("\n")
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!("--- {}: its log ends with\n{}", self.name, self.log_tail());
        }
    }
}

impl Process {
    fn wait(mut self) -> ExitStatus {
        let status = self.child.wait().expect("the process is a child of this one");
        self.reader.join().expect("the reader only reads");
        status
    }
}

impl Output {
    fn follow(&self, pipe: impl BufRead) {
        for line in pipe.lines() {
            // What is not text, or a broken pipe, is the end of what we understand.
            let Ok(line) = line else { break };
            self.change(|lines| lines.lines.push(line));
        }
        self.change(|lines| lines.ended = true);
    }

    fn change(&self, change: impl FnOnce(&mut Lines)) {
        change(&mut self.lines.lock().expect("no holder panics"));
        self.changed.notify_all();
    }

    /// Whether a line that fits came before the output ended and before patience did.
    fn wait_for(&self, fits: impl Fn(&str) -> bool) -> bool {
        let found = |lines: &Lines| lines.lines.iter().any(|line| fits(line));
        self.wait(|lines| found(lines) || lines.ended, found)
    }

    fn wait_for_end(&self) -> bool {
        self.wait(|lines| lines.ended, |lines| lines.ended)
    }

    fn wait(&self, done: impl Fn(&Lines) -> bool, answer: impl Fn(&Lines) -> bool) -> bool {
        let lines = self.lines.lock().expect("no holder panics");
        let waited = self.changed.wait_timeout_while(lines, PATIENCE, |lines| !done(lines));
        answer(&waited.expect("no holder panics").0)
    }
}
