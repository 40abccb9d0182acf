//! Running a program that prints a secret.

use std::io::{self, ErrorKind, Read};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, kill_process_group};
use zeroize::Zeroizing;

use crate::{Env, Error};

/// How long to sleep between two looks at the clock and at the user.
const NAP: Duration = Duration::from_millis(50);

/// Runs `words` (a program and its arguments, no shell) and returns what it prints, at most `limit` bytes.
///
/// It gets no input and the server's environment; what it says on stderr goes where the server's goes,
/// to the log. It is killed, with the processes it started, when it prints too much, when the deadline
/// passes and when the user cancels. What it leaves running after it ended well is its own affair.
pub fn run(words: &[String], limit: usize, env: &Env) -> Result<Zeroizing<Vec<u8>>, Error> {
    let Some((program, arguments)) = words.split_first() else {
        return Err(Error::MissingOption { name: "command" });
    };
    let begin = Instant::now();
    let start = |e: io::Error| Error::CommandStart { program: program.clone(), kind: e.kind() };
    let read = |kind: ErrorKind| Error::CommandIo { program: program.clone(), kind };
    if (env.cancelled)() {
        return Err(Error::Cancelled);
    }

    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped());
    // A group of its own, so that one signal reaches all of it and the server's signals do not.
    let child = command.process_group(0).spawn().map_err(start)?;
    let mut running = Running { child, ended: false };
    let stdout = running.child.stdout.take().ok_or_else(|| read(ErrorKind::BrokenPipe))?;
    rustix::io::ioctl_fionbio(&stdout, true).map_err(|e| read(e.kind()))?;
    let mut output = Output::new(stdout, limit);

    let status = loop {
        if (env.cancelled)() {
            return Err(Error::Cancelled);
        }
        let left = env.deadline.saturating_sub(begin.elapsed());
        if left.is_zero() {
            let deadline = env.deadline;
            return Err(Error::CommandTimedOut { program: program.clone(), deadline });
        }
        output.wait(left.min(NAP)).map_err(|e| read(e.kind()))?;
        // In this order: what an ended program wrote is in the pipe by then, and is read below.
        let ended = running.poll().map_err(|e| read(e.kind()))?;
        output.drain().map_err(|e| read(e.kind()))?;
        if output.bytes.len() > limit {
            return Err(Error::CommandOutput { program: program.clone(), limit });
        }
        if let Some(status) = ended {
            break status;
        }
    };
    if !status.success() {
        return Err(Error::CommandFailed { program: program.clone(), status: status.code() });
    }
    Ok(output.bytes)
}

/// What the program has printed so far, in a buffer that never grows: growing leaves copies behind.
struct Output {
    pipe: ChildStdout,
    open: bool,
    bytes: Zeroizing<Vec<u8>>,
}

impl Output {
    fn new(pipe: ChildStdout, limit: usize) -> Self {
        Self { pipe, open: true, bytes: Zeroizing::new(Vec::with_capacity(limit + 1)) }
    }

    /// Waits until there is something to read, or for `time`. A closed pipe has nothing to wait for.
    fn wait(&self, time: Duration) -> io::Result<()> {
        if !self.open {
            std::thread::sleep(time.min(NAP / 10));
            return Ok(());
        }
        let time = Timespec::try_from(time).map_err(|_| ErrorKind::InvalidInput)?;
        match poll(&mut [PollFd::new(&self.pipe, PollFlags::IN)], Some(&time)) {
            // A signal for the server: the caller looks whether it means the end.
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(e) => Err(e.into()),
        }
    }

    /// Reads what is there, up to one byte more than the limit.
    fn drain(&mut self) -> io::Result<()> {
        let mut piece = Zeroizing::new([0; 512]);
        while self.open {
            let room = (self.bytes.capacity() - self.bytes.len()).min(piece.len());
            if room == 0 {
                break;
            }
            match self.pipe.read(&mut piece[..room]) {
                Ok(0) => self.open = false,
                Ok(n) => self.bytes.extend_from_slice(&piece[..n]),
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) if e.kind() == ErrorKind::WouldBlock => break,
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }
}

/// A program that is killed and collected if it is still there when this is dropped: on every early
/// return, and when `cancelled` panics.
struct Running {
    child: Child,
    ended: bool,
}

impl Running {
    fn poll(&mut self) -> io::Result<Option<ExitStatus>> {
        let status = self.child.try_wait()?;
        self.ended |= status.is_some();
        Ok(status)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        // Not collected yet, so its id is still its own. SIGKILL can't be refused; the wait is short.
        let group = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        let _ = group.map(|group| kill_process_group(group, Signal::KILL));
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests;
