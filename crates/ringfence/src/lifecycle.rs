//! The life of the process: what it says at start, signals, and an end that loses nothing.

use std::io::{self, Write as _};
use std::time::Duration;

use pbx::command::{Command, Reply};
use sd_notify::NotifyState;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::data_dir::Trouble;
use crate::exchange_thread::{Engine, State};
use crate::node::Node;

/// How the process ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum End {
    /// Everything that was up was ended properly, and everything was written.
    Clean,
    /// Asked twice, or something could not be ended or written.
    Cut,
}

/// Announces the node, keeps it, and takes it down when a signal says so.
/// `place`: the data folder, where commands must name it.
pub(crate) async fn live<E: Engine + Send + 'static>(
    node: Node<E>,
    place: Option<&str>,
) -> Result<End, Trouble> {
    let mut stopping = Stop::new()?;
    let mut hangup = listen_for(SignalKind::hangup())?;
    // A terminal that is gone, or a log on a full disk, keeps no telephone from ringing.
    let _ = write!(io::stdout(), "{}", crate::cli::there(&announcement(&node), place));
    notify(&[NotifyState::Ready]);
    tracing::info!("ready");
    let mut state = node.state.clone();
    let mut upkeep = tokio::time::interval(watchdog_interval().unwrap_or(UPKEEP));
    let mut renewal = Instant::now() + RENEWAL;
    loop {
        tokio::select! {
            () = stopping.asked() => break,
            _ = hangup.recv() => reload(&node),
            () = sleep_until(renewal) => {
                renewal = Instant::now() + RENEWAL;
                reload(&node);
            }
            _ = upkeep.tick() => {
                if node.has_lost_its_exchange() {
                    tracing::error!("the thread of the exchange is gone: ending, to be started afresh");
                    return Ok(End::Cut);
                }
                // A hanging exchange is a hanging node: without the note systemd restarts it.
                if node.pulse.is_alive(node.clock.now()) {
                    notify(&[NotifyState::Watchdog]);
                }
            }
            failing = state.wait_for(|state| *state == State::Failing) => {
                drop(failing);
                tracing::error!("ending, to be started afresh");
                node.bring_down().await;
                return Ok(End::Cut);
            }
        }
    }
    notify(&[NotifyState::Stopping]);
    tokio::select! {
        end = stop(node) => Ok(end),
        () = stopping.asked() => {
            tracing::warn!("second signal: ending at once");
            Ok(End::Cut)
        }
    }
}

/// No new calls, a BYE to what is up, and the rest written.
pub(crate) async fn stop<E: Engine + Send + 'static>(node: Node<E>) -> End {
    tracing::info!("stopping: no new calls except emergency");
    let calls = calls_up(&node).await.unwrap_or(0);
    let mut state = node.state.clone();
    let inbox = node.inbox.clone();
    // Its answer is `Drained`, which may take as long as an emergency call lasts.
    tokio::spawn(async move { inbox.ask(Command::Drain).await });
    let mut drained =
        timeout(DRAIN_MAX, state.wait_for(|state| *state != State::Running)).await.is_ok();
    while !drained {
        // The exchange ends everything else within its own time: what is still up is emergency.
        match calls_up(&node).await {
            Some(up) if up > 0 => {
                tracing::warn!(up, "waiting for an emergency call; a second signal ends it");
                sleep(EMERGENCY_LOOK).await;
                drained = *state.borrow() != State::Running;
            }
            _ => break,
        }
    }
    let calls_ended = u32::try_from(calls).unwrap_or(u32::MAX);
    let id = node.grounds.config.node;
    node.inbox.fact(guard::fact::Fact::NodeStopped { node: id, calls_ended });
    let written = node.bring_down().await;
    tracing::info!("stopped");
    if written { End::Clean } else { End::Cut }
}

async fn calls_up<E: Engine + Send + 'static>(node: &Node<E>) -> Option<usize> {
    match node.inbox.ask(Command::Status).await {
        Ok(Reply::Status(status)) => Some(status.calls_up),
        _ => None,
    }
}

/// Certificates are read or signed anew for connections to come; a mistake leaves the former.
fn reload<E: Engine + Send + 'static>(node: &Node<E>) {
    match node.grounds.tls(node.clock.now()) {
        Ok((tls, identity)) => {
            node.flows.replace_tls(tls);
            node.carriers.replace_identity(identity);
            tracing::info!("certificates are up to date");
        }
        Err(trouble) => tracing::error!(%trouble, "the former certificate stays in use"),
    }
}

/// What listens where, whom phones must trust, and what to type next.
fn announcement<E: Engine + Send + 'static>(node: &Node<E>) -> String {
    let mut out = match node.is_new {
        true => format!(
            "Ringfence is up. This made a NEW system in {}.\n\n",
            node.grounds.folder.path().display()
        ),
        false => String::from("Ringfence is up.\n\n"),
    };
    let widest = node.listening.iter().map(|(what, _)| what.len()).max().unwrap_or(0);
    for (what, place) in &node.listening {
        out.push_str(&format!("  {what:widest$}  {place}\n"));
    }
    out.push_str(&format!("\nIt is {}.\n", node.standing));
    if !node.help_leaves {
        out.push_str(
            "\nCalls for help cannot leave: no trunk is in service. Connect a carrier:\n  \
             ringfence trunk add carrier --server sip.example.net --user 4711\n",
        );
    }
    out.push_str(&format!(
        "\nPhones must trust this authority:\n  {}\n  SHA-256 {}\n\nIn another terminal:\n  \
         ringfence extension add 101 --name \"Front desk\"\n  ringfence status\n",
        node.grounds.authority_file().display(),
        node.grounds.fingerprint(),
    ));
    out
}

fn listen_for(kind: SignalKind) -> Result<Signal, Trouble> {
    signal(kind).map_err(|error| {
        Trouble::new(format!("signals cannot be received: {error}"), "report this")
    })
}

/// What asks a process to end.
pub(crate) struct Stop {
    terminate: Signal,
    interrupt: Signal,
}

impl Stop {
    pub(crate) fn new() -> Result<Self, Trouble> {
        Ok(Self {
            terminate: listen_for(SignalKind::terminate())?,
            interrupt: listen_for(SignalKind::interrupt())?,
        })
    }

    /// Waits for SIGTERM or SIGINT.
    pub(crate) async fn asked(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Half of what systemd waits for, where it does.
fn watchdog_interval() -> Option<Duration> {
    sd_notify::watchdog_enabled().map(|within| within / 2)
}

fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "systemd could not be told");
    }
}

/// The exchange gives itself five seconds for BYEs and their answers.
const DRAIN_MAX: Duration = Duration::from_millis(5_500);
const EMERGENCY_LOOK: Duration = Duration::from_secs(1);
const UPKEEP: Duration = Duration::from_secs(10);
/// Addresses change and certificates age: looked at twice a day.
const RENEWAL: Duration = Duration::from_secs(12 * 3_600);
