// CallAgreement: whether all ranks of several nodes are at the same call, told from node to node in as many
// steps as the number of nodes has binary digits, with a few bytes a message whatever the number of ranks.
#pragma once

#include <cstdint>
#include <vector>

#include "moehill/mesh/group.h"
#include "moehill/mesh/mpi/communicator.h"
#include "moehill/mesh/mpi/messages.h"

namespace moehill {

// A digest of the calls of some ranks. They go together if their hashes are one, and their counts do if what
// is sent and what is expected add up to the same: the differences of all ranks then have the sum 0, modulo
// 2^64.
struct CallDigest {
  uint64_t lowest = UINT64_MAX, highest = 0, difference = 0;
  void add(const CallDigest& other);
  bool agrees() const { return lowest == highest && difference == 0; }
};

CallDigest digest_of(const Call& call);
// Returns the digest of a round trip, whose parts have to fit too.
CallDigest digest_of(const Call& call, const RoundTrip& trip);
// The tag of the rows of calls with this hash: rows of calls that do not go together are not taken for each
// other's.
int tag_of(const CallDigest& digest);

class CallAgreement {
 public:
  // leaders: one rank of each node, in one order everywhere; own: the place of this one. sent: counts the
  // messages.
  CallAgreement(MPI_Comm comm, std::vector<int> leaders, int own, MessageCount& sent);

  // Returns whether the digests of all nodes agree, the same on each; the leaders call it together.
  bool agree(CallDigest own);

 private:
  int leader(int node) const { return leaders_[static_cast<size_t>(node)]; }
  void send(const CallDigest& digest, int to);
  CallDigest receive(int from);

  MPI_Comm comm_;
  std::vector<AgreementStep> steps_;
  std::vector<int> leaders_;
  MessageCount& sent_;
};

}  // namespace moehill
