// How a peer computes a contraction: as the calls a user would write for it.
#pragma once

#include <functional>

#include "einjit/einjit.hpp"
#include "index_ir/contraction.hpp"
#include "peers/peers.hpp"

namespace einjit_bench {

// What runs in place of einjit, on the same arrays; empty if the peer cannot. `how` says by which
// calls: gemm, a loop of gemms over batch labels, gemv, dot, omatcopy, or operands transposed into
// matrices, one gemm, and the result transposed back (the transposes are einjit's own kernels).
struct PeerRun {
  std::function<void()> run;
  std::string how;
};
PeerRun peer_contraction(const Peer& peer, const einjit::Contraction& canonical,
                         const std::vector<void*>& operands);

}  // namespace einjit_bench
