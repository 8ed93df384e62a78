//! What a call gives a reason to look at. An expert does not list the modules for somebody who asks for
//! four nodes; looking only at what matters keeps the trace readable and the probe quick.

use protocol::call::Call;
use protocol::factor::FactorName;

use crate::provider::Category;

/// Whether a category matters to a call.
#[must_use]
pub fn wants(category: Category, call: &Call) -> bool {
    let need = &call.requirement;
    let asks = |name: FactorName| call.factors.iter().any(|factor| factor.name == name);
    match category {
        // Capacity, the queue, and the problems that file systems have, matter to every work.
        Category::Hardware | Category::Workload | Category::Storage => true,
        Category::Software => !need.software.is_empty(),
        // Software that is not installed may come in a container.
        Category::Container => {
            !need.container.is_empty() || !need.exclude.container.is_empty() || !need.software.is_empty()
        }
        Category::Network => {
            need.mpi
                || !need.network.is_empty()
                || !need.exclude.network.is_empty()
                || asks(FactorName::NetworkBandwidth)
        }
        Category::Parallel => need.mpi,
    }
}
