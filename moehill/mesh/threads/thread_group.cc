// Implements thread_group.h: a rank meets the others, works on their memory with its team, and parts.
#include "moehill/mesh/threads/thread_group.h"

#include "moehill/machine/clock.h"
#include "moehill/mesh/group.h"
#include "moehill/mesh/jobs.h"
#include "moehill/mesh/line_share.h"
#include "moehill/mesh/traffic.h"

namespace moehill {

ThreadGroup::ThreadGroup(int rank, int size, Rendezvous& rendezvous, ThreadTeam& team)
    : rank_(rank),
      size_(size),
      rendezvous_(rendezvous),
      team_(team),
      inputs_(static_cast<size_t>(size)),
      outputs_(static_cast<size_t>(size)) {}

void ThreadGroup::take_nodes(const Nodes& nodes, ThreadGroup& node) {
  set_nodes(nodes);
  node_ = &node;
  node.number_of_node_ = nodes.ranks_of(nodes.of(rank_)).front();
  node.report_waits_to([this](const Wait& wait) { report_wait(wait); });
}

Traffic ThreadGroup::traffic() const {
  Traffic all = traffic_;
  if (node_ != nullptr) all += node_->traffic();
  return all;
}

// Shows this rank's arguments to the others and waits for theirs. The time counts as waiting.
std::span<const Call> ThreadGroup::meet(const Call& call) {
  const double start = seconds();
  const std::span<const Call> calls = rendezvous_.meet(rank_, call);
  const double end = seconds();
  traffic_.wait_seconds += end - start;
  report_wait({.begin = start, .end = end, .came = start, .node = number_of_node_});
  return calls;
}

void ThreadGroup::barrier() {
  require_idle("barrier");
  meet({.kind = CallKind::barrier});
}

// Making the memory needs no meeting, but this function has one, so that a program that runs here also runs
// on other meshes.
std::shared_ptr<void> ThreadGroup::exchange_memory(size_t bytes) {
  require_idle("exchange_memory");
  meet({.kind = CallKind::exchange_memory});
  return make_exchange_buffer(bytes);
}

std::shared_ptr<void> ThreadGroup::common_memory(size_t bytes) {
  require_idle("common_memory");
  // The first rank makes the memory, and the others copy its pointer while it is at the meeting.
  std::shared_ptr<void> memory = rank_ == 0 ? make_exchange_buffer(bytes) : nullptr;
  const std::span<const Call> calls =
      meet({.kind = CallKind::common_memory, .n = static_cast<int64_t>(bytes), .input = &memory});
  if (rank_ > 0) memory = *static_cast<const std::shared_ptr<void>*>(calls[0].input);
  rendezvous_.part();
  return memory;
}

// Rows that are read in place count like the rows of the all_to_all that they replace.
void ThreadGroup::count_reads(std::span<const int64_t> send_offsets, std::span<const int64_t> receive_offsets,
                              size_t element_bytes) {
  check_offsets("count_reads", send_offsets, size_);
  check_offsets("count_reads", receive_offsets, size_);
  count_all_to_all(traffic_, rank_, send_offsets, receive_offsets, element_bytes);
  traffic_.network_bytes += static_cast<uint64_t>(nodes().elsewhere(send_offsets, rank_)) * element_bytes;
}

// Rank d sums slice d of all inputs and writes it to all outputs. This is right in place too, because slice d
// of any rank's memory is touched only by rank d.
void ThreadGroup::all_reduce(const void* input, DType input_dtype, void* output, DType output_dtype,
                             int64_t n) {
  require_idle("all_reduce");
  check_count("all_reduce", n);
  const std::span<const Call> calls = meet({.kind = CallKind::all_reduce,
                                            .input_dtype = input_dtype,
                                            .output_dtype = output_dtype,
                                            .n = n,
                                            .input = input,
                                            .output = output});
  for (size_t r = 0; r < calls.size(); ++r) {
    inputs_[r] = calls[r].input;
    outputs_[r] = calls[r].output;
  }
  const Range own = line_share({0, n}, rank_, size_, kLineElements);
  team_sum(team_, {inputs_, input_dtype, own.begin, outputs_, output_dtype, own.begin, own.size()});
  rendezvous_.part();
  count_reduce_scatter(traffic_, size_, own.size(), n, dtype_bytes(input_dtype));
  count_all_gather(traffic_, size_, own.size(), n, dtype_bytes(output_dtype));
  traffic_.network_bytes +=
      all_reduce_network_bytes(nodes(), rank_, size_, n, dtype_bytes(input_dtype), dtype_bytes(output_dtype));
}

// Sums this rank's slice of all inputs.
void ThreadGroup::reduce_slices(const Started& call) {
  const std::span<const int64_t> offsets = call.send_offsets;
  const std::span<const Call> calls = meet({.kind = CallKind::reduce_scatter,
                                            .input_dtype = call.input_dtype,
                                            .output_dtype = call.output_dtype,
                                            .offsets = offsets,
                                            .input = call.input});
  for (size_t r = 0; r < calls.size(); ++r) inputs_[r] = calls[r].input;
  const size_t rank = static_cast<size_t>(rank_);
  const int64_t own = offsets[rank + 1] - offsets[rank];
  team_sum(team_, {inputs_, call.input_dtype, offsets[rank], {&call.output, 1}, call.output_dtype, 0, own});
  rendezvous_.part();
  count_reduce_scatter(traffic_, size_, own, offsets.back(), call.element_bytes);
}

void ThreadGroup::finish() {
  const Started call = take_started();
  traffic_.network_bytes += network_bytes(call);
  if (call.kind == Collective::reduce_scatter) return reduce_slices(call);
  call.kind == Collective::all_gather ? all_gather_rows(call) : all_to_all_rows(call);
}

void ThreadGroup::all_gather_rows(const Started& call) {
  const std::span<const int64_t> offsets = call.receive_offsets;
  const std::span<const Call> calls = meet({.kind = CallKind::all_gather,
                                            .element_bytes = call.element_bytes,
                                            .offsets = offsets,
                                            .input = call.input});
  for (size_t r = 0; r < calls.size(); ++r) inputs_[r] = calls[r].input;
  team_copy(team_, {inputs_, offsets, call.element_bytes, call.output});
  rendezvous_.part();
  const size_t rank = static_cast<size_t>(rank_);
  count_all_gather(traffic_, size_, offsets[rank + 1] - offsets[rank], offsets.back(), call.element_bytes);
}

// Returns false if a peer sends another number of rows than this rank expects. Then all ranks get an error
// when they part.
bool ThreadGroup::receives_what_peers_send(std::span<const Call> calls,
                                           std::span<const int64_t> receive_offsets) {
  const size_t rank = static_cast<size_t>(rank_);
  for (size_t r = 0; r < calls.size(); ++r) {
    const int64_t sent = calls[r].offsets[rank + 1] - calls[r].offsets[rank];
    const int64_t expected = receive_offsets[r + 1] - receive_offsets[r];
    if (sent == expected) continue;
    rendezvous_.report(count_disagreement(static_cast<int>(r), sent, rank_, expected));
    return false;
  }
  return true;
}

void ThreadGroup::all_to_all_rows(const Started& call) {
  const std::span<const Call> calls = meet({.kind = CallKind::all_to_all,
                                            .element_bytes = call.element_bytes,
                                            .offsets = call.send_offsets,
                                            .input = call.input,
                                            .far_input = call.far.sent});
  if (receives_what_peers_send(calls, call.receive_offsets)) {
    copy_rows(calls, call, false);
    if (call.far.row_bytes > 0) copy_rows(calls, call, true);
  }
  rendezvous_.part();
  count_rows(call, traffic_);
}

// With `far`, copies the rows that come from other nodes in the form of the wire. Without it, copies the rows
// that keep their form, which are all rows if there is no wire.
void ThreadGroup::copy_rows(std::span<const Call> calls, const Started& call, bool far) {
  const size_t bytes = far ? call.far.row_bytes : call.element_bytes;
  void* const output = far ? call.far.received : call.output;
  for (size_t r = 0; r < calls.size(); ++r) {
    const bool is_far = call.far.row_bytes > 0 && nodes().of(static_cast<int>(r)) != nodes().of(rank_);
    const auto at = [&](const void* array, int64_t row) {
      return static_cast<const char*>(array) + row * static_cast<int64_t>(bytes);
    };
    // A row of the other kind is given its own place as its source, so that the copy leaves it alone.
    inputs_[r] = is_far != far ? at(output, call.receive_offsets[r])
                               : at(far ? calls[r].far_input : calls[r].input,
                                    calls[r].offsets[static_cast<size_t>(rank_)]);
  }
  team_copy(team_, {inputs_, call.receive_offsets, bytes, output});
}

}  // namespace moehill
