//! What the system is asked for directly: namespaces, TUN devices, signals.
//!
//! The only file with `unsafe`: the standard library has none of these calls. Each wrapper passes
//! memory that it owns, or plain numbers, to one call and checks what it returned. Namespaces are
//! entered by threads made for it, or by a child between fork and exec, never by a thread that
//! goes on with something else.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// `TUNSETIFF` of linux/if_tun.h.
const TUNSETIFF: libc::c_ulong = 0x4004_54ca;

fn checked(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// Network and mounts of our own for this process, so that nothing is left when it ends. Called
/// before any thread is started.
pub fn isolate() -> Result<(), String> {
    // SAFETY: takes flags only; no other thread exists.
    checked(unsafe { libc::unshare(libc::CLONE_NEWNET | libc::CLONE_NEWNS) })
        .map_err(|error| format!("namespaces of our own: {error}; run it as root"))?;
    shell("mount --make-rprivate / && ip link set lo up")
}

/// Runs a shell command.
pub fn shell(command: &str) -> Result<(), String> {
    let output = Command::new("sh").args(["-c", command]).output();
    match output {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(format!("{command}: {}", String::from_utf8_lossy(&output.stderr))),
        Err(error) => Err(format!("{command}: {error}")),
    }
}

/// A new network namespace. It lives as long as its file, and as what runs in it.
pub fn network_namespace() -> io::Result<File> {
    let made = std::thread::spawn(|| {
        // SAFETY: takes flags only; changes this thread, which ends at once.
        checked(unsafe { libc::unshare(libc::CLONE_NEWNET) })?;
        File::open("/proc/thread-self/ns/net")
    });
    made.join().expect("the thread only makes a namespace")
}

fn enter(namespace: libc::c_int) -> io::Result<()> {
    // SAFETY: takes numbers only.
    checked(unsafe { libc::setns(namespace, libc::CLONE_NEWNET) }).map(|_| ())
}

/// Opens a TUN device `tun0`, in a namespace or here.
pub fn open_tun(namespace: Option<&File>) -> io::Result<File> {
    let namespace = namespace.map(AsRawFd::as_raw_fd);
    let opened = std::thread::spawn(move || {
        if let Some(namespace) = namespace {
            enter(namespace)?;
        }
        let device = File::options().read(true).write(true).open("/dev/net/tun")?;
        // SAFETY: all zeros are a valid `ifreq`.
        let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
        for (to, from) in request.ifr_name.iter_mut().zip(b"tun0") {
            *to = *from as libc::c_char;
        }
        request.ifr_ifru.ifru_flags = (libc::IFF_TUN | libc::IFF_NO_PI) as libc::c_short;
        // SAFETY: `request` outlives the call, which reads and writes one `ifreq`.
        checked(unsafe { libc::ioctl(device.as_raw_fd(), TUNSETIFF, &raw mut request) })?;
        Ok(device)
    });
    opened.join().expect("the thread only opens a device")
}

/// Has a command start in a namespace, and die when this process does.
pub fn confine(command: &mut Command, namespace: Option<&File>) {
    let namespace = namespace.map(|file| file.as_raw_fd());
    let prepare = move || {
        // SAFETY: takes numbers only.
        checked(unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) })?;
        namespace.map_or(Ok(()), enter)
    };
    // SAFETY: between fork and exec only two system calls are made, nothing is allocated.
    unsafe { command.pre_exec(prepare) };
}

/// Sends a signal to a process of ours.
pub fn signal(pid: u32, signal: libc::c_int) {
    // SAFETY: takes numbers only. The process is a child that was not waited for: its id is its.
    unsafe { libc::kill(pid as libc::pid_t, signal) };
}

/// The real monotonic clock, in nanoseconds.
pub fn monotonic_ns() -> i64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `now` outlives the call, which writes one `timespec`.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
    now.tv_sec * 1_000_000_000 + now.tv_nsec
}

/// What is missing to run here, in words; empty when nothing is.
pub fn missing() -> Vec<String> {
    let mut missing = vec![];
    for (tool, package) in [
        ("ip", "iproute2"),
        ("mkfs.ext4", "e2fsprogs"),
        ("mount", "mount"),
        ("losetup", "mount"),
        ("fsfreeze", "util-linux"),
    ] {
        if shell(&format!("command -v {tool}")).is_err() {
            missing.push(format!("the command {tool} (Debian package {package})"));
        }
    }
    if let Err(error) = network_namespace() {
        missing.push(format!("a network namespace ({error})"));
    }
    if let Err(error) = open_tun(None) {
        missing.push(format!("a TUN device at /dev/net/tun ({error})"));
    }
    if !std::path::Path::new("/dev/loop-control").exists() {
        missing.push("loop devices at /dev/loop-control".into());
    }
    missing
}
