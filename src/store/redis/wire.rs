//! One open connection, and how a request and its answer go over it.

use std::{sync::Arc, time::Duration};

use redis::{Pipeline, Value, cmd};
use tokio::time::Instant;

use super::{fault::Fault, greeting::ask, scripts::Request, source::Transport};

/// A write is done when replicas have it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Confirm {
    pub(super) replicas: usize,
    pub(super) timeout: Duration,
}

/// A connection that answers, as far as is known.
#[derive(Clone)]
pub(super) struct Wire {
    /// Which one it is of those that the link has had.
    pub(super) number: u64,
    pub(super) opened: Instant,
    pub(super) transport: Arc<dyn Transport>,
}

impl Wire {
    /// `asking`: the cluster has sent us here for once.
    pub(super) async fn send(
        &self,
        request: &Request,
        asking: bool,
        confirm: Option<Confirm>,
    ) -> Result<Value, Fault> {
        if !asking && confirm.is_none() {
            return Ok(self.transport.one(&request.command).await?.extract_error()?);
        }
        let mut commands = Pipeline::new();
        if asking {
            commands.cmd("ASKING");
        }
        commands.add_command(request.command.clone());
        if let Some(confirm) = confirm {
            let millis = u64::try_from(confirm.timeout.as_millis()).unwrap_or(u64::MAX);
            // Zero would be for ever, and more than this is refused.
            commands.cmd("WAIT").arg(confirm.replicas).arg(millis.clamp(1, u64::MAX >> 2));
        }
        let mut answers = self.transport.several(&commands).await?;
        let count = confirm.map(|_| answers.pop().ok_or(Fault::Strange));
        let answer = answers.pop().ok_or(Fault::Strange)?.extract_error()?;
        // What has not been written needs no witness.
        let written = matches!(answer, Value::Okay | Value::Int(1));
        match (confirm, count) {
            (Some(Confirm { replicas, .. }), Some(count)) if written => match count?.extract_error()? {
                Value::Int(by) if usize::try_from(by).is_ok_and(|by| by >= replicas) => Ok(answer),
                Value::Int(by) => Err(Fault::Unconfirmed { by, of: replicas }),
                _ => Err(Fault::Strange),
            },
            _ => Ok(answer),
        }
    }

    /// Any answer will do, but those of a server that answers nothing else.
    pub(super) async fn ping(&self, limit: Duration) -> Result<(), Fault> {
        match ask(&*self.transport, &cmd("PING"), limit).await {
            Err(fault) if matches!(fault.code(), None | Some("BUSY" | "LOADING" | "MASTERDOWN")) => {
                Err(fault)
            }
            _ => Ok(()),
        }
    }
}
