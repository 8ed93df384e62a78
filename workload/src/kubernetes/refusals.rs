//! What goes wrong on the way to the API server, and what it answers instead of what was asked for, as
//! typed reasons.

use std::time::Duration;

use kube::core::Status;

use crate::error::WorkloadError;

/// How much of a complaint is kept.
const COMPLAINT_LIMIT: usize = 500;

/// Why a request brought no answer that can be used. `what` is the request (`GET nodes`).
#[derive(Debug)]
pub(super) enum Failure {
    /// There is no usable kubeconfig or service account.
    Configuration(String),
    /// The API server refused.
    Refused { what: &'static str, status: Box<Status> },
    /// It did not answer in time.
    Silent { what: &'static str, after: Duration },
    /// It could not be reached, or the connection broke.
    Unreachable { what: &'static str, problem: String },
    /// The answer is not what it has to be.
    NotUnderstood { what: &'static str, problem: String },
}

impl Failure {
    /// An answer with an HTTP status that is no success.
    pub(super) fn answered(what: &'static str, code: u16, body: &[u8]) -> Self {
        let mut status = serde_json::from_slice::<Status>(body).unwrap_or_else(|_| {
            // A proxy's page, or nothing.
            Status { message: String::from_utf8_lossy(body).into_owned(), ..Status::default() }
        });
        status.code = code;
        status.message = one_line(&status.message);
        Self::Refused { what, status: Box::new(status) }
    }

    /// The HTTP status, where there was an answer.
    pub(super) fn code(&self) -> Option<u16> {
        match self {
            Self::Refused { status, .. } => Some(status.code),
            _ => None,
        }
    }

    /// Whether we are not allowed to ask.
    pub(super) fn is_forbidden(&self) -> bool {
        self.code() == Some(403)
    }

    pub(super) fn is_not_found(&self) -> bool {
        matches!(self, Self::Refused { status, .. } if status.code == 404 && status.reason == "NotFound")
    }

    /// Of a request to make an object: whether there is one of its name already.
    pub(super) fn is_there_already(&self) -> bool {
        matches!(self, Self::Refused { status, .. } if status.code == 409 && status.reason == "AlreadyExists")
    }

    /// Of a request to make an object: what is certain to have kept it from being made. `None` when it may
    /// have been made.
    pub(super) fn not_made(&self) -> Option<WorkloadError> {
        let Self::Refused { status, .. } = self else {
            return match self {
                Self::Configuration(_) => Some(self.error()),
                _ => None,
            };
        };
        let refused = |field| Some(WorkloadError::Refused { field, reason: status.message.clone() });
        match status.code {
            400 | 413 | 415 | 422 => refused(field(&status.message)),
            403 if status.message.contains("exceeded quota") => {
                Some(WorkloadError::Unavailable { problem: status.message.clone() })
            }
            401 | 403 | 404 | 405 | 406 | 409 | 429 => Some(self.error()),
            _ => None,
        }
    }

    /// As an error of the workload manager.
    pub(super) fn error(&self) -> WorkloadError {
        match self {
            Self::Configuration(problem) => {
                WorkloadError::CommandFailed { command: "reading the kubeconfig", problem: one_line(problem) }
            }
            Self::Silent { what, after } => WorkloadError::Silent { command: what, after: *after },
            Self::Unreachable { what, problem } => {
                WorkloadError::Unavailable { problem: one_line(&format!("{what}: {problem}")) }
            }
            Self::NotUnderstood { what, problem } => {
                WorkloadError::NotUnderstood { command: what, problem: one_line(problem) }
            }
            Self::Refused { what, status } => {
                let Status { code, message, .. } = status.as_ref();
                match code {
                    429 | 502..=504 => {
                        let problem = format!("{what}: HTTP status {code}: {message}");
                        WorkloadError::Unavailable { problem: one_line(&problem) }
                    }
                    401 => WorkloadError::CommandFailed {
                        command: what,
                        problem: format!("the API server does not accept our credentials: {message}"),
                    },
                    _ => WorkloadError::CommandFailed {
                        command: what,
                        problem: format!("HTTP status {code}: {message}"),
                    },
                }
            }
        }
    }
}

impl From<Failure> for WorkloadError {
    fn from(failure: Failure) -> Self {
        failure.error()
    }
}

/// Which field of a request a complaint about its Job is about.
fn field(message: &str) -> &'static str {
    const FIELDS: &[(&str, &str)] = &[
        ("priorityClassName", "placement.qos"),
        ("PriorityClass", "placement.qos"),
        ("nodeSelector", "placement.constraint"),
        ("resources.limits[memory]", "memory_limit"),
        ("resources.requests[memory]", "memory_limit"),
        ("resources", "allocation"),
        ("].env", "environment"),
        ("activeDeadlineSeconds", "time_limit"),
    ];
    FIELDS.iter().find(|(part, _)| message.contains(part)).map_or("request", |(_, field)| field)
}

/// Text of somebody else in one line, shortened.
pub(super) fn one_line(text: &str) -> String {
    let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    text.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(COMPLAINT_LIMIT).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORBIDDEN: &[u8] = br#"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure",
        "message":"nodes is forbidden: User \"system:anonymous\" cannot list resource \"nodes\" in API group \"\" at the cluster scope",
        "reason":"Forbidden","details":{"kind":"nodes"},"code":403}"#;

    #[test]
    fn an_answer_keeps_its_reason() {
        let failure = Failure::answered("GET nodes", 403, FORBIDDEN);
        assert!(failure.is_forbidden() && !failure.is_not_found());
        let said = failure.error().to_string();
        assert!(said.starts_with("GET nodes failed: HTTP status 403: nodes is forbidden: User"), "{said}");
        let page = Failure::answered("GET nodes", 502, b"<html>\n<h1>Bad gateway</h1>\x1b[0m");
        assert!(matches!(page.error(), WorkloadError::Unavailable { .. }));
        assert!(!page.error().to_string().contains('\x1b'));
    }

    #[test]
    fn only_a_certain_refusal_of_a_job_is_one() {
        for code in [400, 401, 403, 404, 409, 413, 422, 429] {
            assert!(Failure::answered("POST jobs", code, b"").not_made().is_some(), "{code}");
        }
        for code in [500, 502, 503, 504] {
            assert!(Failure::answered("POST jobs", code, b"").not_made().is_none(), "{code}");
        }
        let silent = Failure::Silent { what: "POST jobs", after: Duration::from_secs(1) };
        assert!(silent.not_made().is_none());
    }
}
