// CallAgreement finds out whether all ranks of several nodes are at the same call. Nodes exchange a few bytes
// in as many steps as the number of nodes has binary digits, however many ranks there are. The answer is only
// yes or no; after a no, CallHeaders (messages.h) finds out which rank differs.
//
//   CallAgreement agreement(comm, leaders, /*own=*/node, sent);       // on the leader of each node, once
//   if (!agreement.agree(digest_of(call))) find_the_odd_rank(call);   // on all leaders, before rows are sent
#pragma once

#include <cstdint>
#include <vector>

#include "moehill/mesh/group.h"
#include "moehill/mesh/mpi/communicator.h"
#include "moehill/mesh/mpi/messages.h"

namespace moehill {

// CallDigest is a digest of the calls of some ranks. The calls go together if the lowest and the highest hash
// are equal. The counts agree if `difference`, summed over all ranks modulo 2^64, is 0: a sender adds a
// number for its count, and the receiver subtracts the number for the count that it expects.
struct CallDigest {
  uint64_t lowest = UINT64_MAX, highest = 0, difference = 0;
  void add(const CallDigest& other);
  bool agrees() const { return lowest == highest && difference == 0; }
};

CallDigest digest_of(const Call& call);
// This digest includes the parts of a round trip, which have to fit too.
CallDigest digest_of(const Call& call, const RoundTrip& trip);
// Returns the tag for the rows of a call with this digest. Rows of calls that do not go together have
// different tags, so that no rank receives rows of another call.
int tag_of(const CallDigest& digest);

// CallAgreement exchanges the digests. Only the leaders of the nodes (one rank of each node) have one.
class CallAgreement {
 public:
  // leaders: one rank of each node, in the same order on all; own: the position of this rank among them. sent
  // counts the messages.
  CallAgreement(MPI_Comm comm, std::vector<int> leaders, int own, MessageCount& sent);

  // Returns whether the digests of all nodes agree, with the same answer on each. The leaders call it
  // together.
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
