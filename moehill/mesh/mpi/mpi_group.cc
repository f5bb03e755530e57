// Implements mpi_group.h. A collective announces its call and posts its messages to other nodes, meets the
// ranks of the node, moves rows within the node, agrees with the other nodes, and waits for the messages.
#include "moehill/mesh/mpi/mpi_group.h"

#include <algorithm>
#include <cstring>

#include "moehill/base/error.h"
#include "moehill/machine/clock.h"
#include "moehill/machine/spin_wait.h"
#include "moehill/mesh/errors.h"
#include "moehill/mesh/jobs.h"
#include "moehill/mesh/line_share.h"
#include "moehill/mesh/traffic.h"

namespace moehill {
namespace {

// Returns slice r as a range of bytes.
Range bytes_of(std::span<const int64_t> offsets, int r, size_t element_bytes) {
  const int64_t unit = static_cast<int64_t>(element_bytes);
  return {offsets[static_cast<size_t>(r)] * unit, offsets[static_cast<size_t>(r) + 1] * unit};
}

size_t length(Range range) { return static_cast<size_t>(range.size()); }

size_t up_to_line(size_t bytes) {
  const size_t line = static_cast<size_t>(kLineBytes);
  return (bytes + line - 1) / line * line;
}

// Rows are the bytes of the elements between offsets[r] and offsets[r + 1] of an array.
struct Rows {
  char* begin;
  size_t bytes;
};

Rows rows_at(const void* array, std::span<const int64_t> offsets, int r, size_t element_bytes) {
  const int64_t first = offsets[static_cast<size_t>(r)], end = offsets[static_cast<size_t>(r) + 1];
  if (first == end) return {nullptr, 0};
  char* const start = static_cast<char*>(const_cast<void*>(array));
  return {start + static_cast<size_t>(first) * element_bytes,
          static_cast<size_t>(end - first) * element_bytes};
}

// Returns the rows that rank `from` sends to rank `to`.
Rows sent(const Started& call, int from, int to) {
  if (call.kind == Collective::all_to_all) {
    return rows_at(call.input, call.send_offsets, to, call.element_bytes);
  }
  const Rows rows = rows_at(call.output, call.receive_offsets, from, call.element_bytes);
  return {static_cast<char*>(const_cast<void*>(call.input)), rows.bytes};
}

Rows received(const Started& call, int from) {
  return rows_at(call.output, call.receive_offsets, from, call.element_bytes);
}

// These functions return rows to and from ranks of other nodes, in the form in which they travel.
Rows sent_far(const Started& call, int from, int to) {
  if (call.far.row_bytes == 0) return sent(call, from, to);
  return rows_at(call.far.sent, call.send_offsets, to, call.far.row_bytes);
}

Rows received_far(const Started& call, int from) {
  if (call.far.row_bytes == 0) return received(call, from);
  return rows_at(call.far.received, call.receive_offsets, from, call.far.row_bytes);
}

size_t input_bytes(const Started& call, int rank) {
  if (call.kind == Collective::all_gather) return sent(call, rank, rank).bytes;
  return static_cast<size_t>(call.send_offsets.back()) * call.element_bytes;
}

}  // namespace

MpiGroup::MpiGroup(MPI_Comm comm, MPI_Comm node, ThreadTeam& team, size_t piece_bytes, std::vector<int> names)
    : comm_(Communicator::duplicate_of(comm)),
      node_(Communicator::duplicate_of(node)),
      rank_(comm_.rank()),
      size_(comm_.size()),
      team_(team),
      num_local_(node_.size()),
      local_rank_(node_.rank()),
      windows_(node_.get()),
      slices_(static_cast<size_t>(size_) + 1),
      inputs_(static_cast<size_t>(size_)) {
  set_nodes(nodes_of(comm_.get(), node_.get()));
  const std::span<const int> here = nodes().ranks_of(nodes().of(rank_));
  std::vector<int> ranks(here.begin(), here.end());
  node_rank_ = ranks.front();
  outputs_.reserve(ranks.size());
  std::vector<int> others;
  for (int r = 0; r < size_; ++r) {
    if (!is_local(r)) others.push_back(r);
  }
  if (piece_bytes == 0) piece_bytes = quickest_piece_bytes(comm_.get(), others);
  messages_.emplace(comm_.get(), piece_bytes, &sent_);
  trip_messages_.emplace(comm_.get(), piece_bytes, others, &sent_);
  NodeLeaders leaders(comm_, node_rank_);
  agreement_.emplace(comm_.get(), leaders.leaders, leaders.own, sent_);
  if (num_local_ < size_) {
    const bool leads = local_rank_ == 0;
    const size_t bytes = ranks.size() * static_cast<size_t>(size_) * sizeof(int64_t);
    counts_window_.emplace(node_.get(), leads ? bytes : 0, static_cast<size_t>(kLineBytes));
    if (leads) counts_.emplace(comm_.get(), std::move(leaders), sent_);
  }
  fits_.assign(static_cast<size_t>(size_), true);
  headers_.emplace(comm_.get(), std::move(others), size_);
  const size_t bytes = NodeRendezvous::memory_bytes(num_local_, size_);
  meeting_place_.emplace(node_.get(), local_rank_ == 0 ? bytes : 0, static_cast<size_t>(kLineBytes));
  if (local_rank_ == 0) NodeRendezvous::prepare(meeting_place_->part(0), num_local_);
  // No rank may use the meeting place before the first rank of the node has prepared it.
  check_mpi("MPI_Barrier", MPI_Barrier(node_.get()));
  if (num_local_ < size_) {
    on_node_ = std::make_unique<MpiGroup>(node_.get(), node_.get(), team, piece_bytes, ranks);
    on_node_->report_waits_to([this](Wait wait) {
      wait.node = node_rank_;
      report_wait(wait);
    });
  }
  rendezvous_.emplace(meeting_place_->part(0), local_rank_,
                      names.empty() ? std::move(ranks) : std::move(names), size_,
                      num_spins(!team.cpus().empty()), [this] { move_on(); });
}

void MpiGroup::move_on() {
  int arrived = 0;
  check_mpi("MPI_Iprobe", MPI_Iprobe(MPI_ANY_SOURCE, MPI_ANY_TAG, comm_.get(), &arrived, MPI_STATUS_IGNORE));
  messages_->advance();
  trip_messages_->advance();
}

int MpiGroup::announce(const Call& call) {
  Call own = call;
  own.rank = rank_;
  return announce(own, digest_of(own));
}

int MpiGroup::announce(const Call& call, const CallDigest& digest) {
  call_ = call;
  call_.rank = rank_;
  call_.hash = digest.lowest;
  call_.difference = digest.difference;
  announced_ = seconds();
  is_agreed_ = num_local_ == size_;
  messages_->use_tag(tag_of(digest));
  return tag_of(digest);
}

// Reports a wait for other nodes that began at `begin`. The others waited for this rank until `came`.
void MpiGroup::report_wait_across(double begin, double came) const {
  if (num_local_ < size_)
    report_wait({.begin = begin, .end = seconds(), .came = came, .node = node_rank_, .across = true});
}

// Agrees with the other nodes that all are at the same call. After a disagreement all ranks learn of it, so
// that each can wait until the others of its node have finished with its memory.
void MpiGroup::agree() {
  if (std::exchange(is_agreed_, true)) return;
  const double start = seconds();
  if (other_nodes_agree()) return report_wait_across(start, announced_);
  try {
    tell_difference();
  } catch (const CollectiveError&) {
    abandon_messages();
    rendezvous_->part();
    throw;
  }
}

// The first rank of a node speaks for the node; the others wait for its answer.
bool MpiGroup::other_nodes_agree() {
  if (local_rank_ != 0) return rendezvous_->await_told();
  CallDigest node;
  for (const Call& call : rendezvous_->calls()) node.add({call.hash, call.hash, call.difference});
  const bool agree = agreement_->agree(node);
  if (agree && call_.kind == CallKind::counts) carry_counts();
  rendezvous_->tell(agree);
  return agree;
}

// Throws on each rank that the difference concerns. After a disagreement, all ranks of all nodes call it.
void MpiGroup::tell_difference() {
  headers_->post(call_);
  headers_->check();
  tell_counts();
}

// This rank still sends and receives the rows of those ranks of other nodes that are at the same call,
// because they may wait for these rows. The caller must not free its memory before that, so it is done before
// the exception.
void MpiGroup::abandon_messages() {
  comm_.keep();
  messages_->abandon([this](int rank) { return fits_[static_cast<size_t>(rank)] && headers_->agrees(rank); });
  trip_messages_->abandon();
}

void MpiGroup::meet(const Call& call, size_t input_bytes, size_t output_bytes) {
  Call own = call;
  own.rank = rank_;
  own.hash = call_.hash;
  own.difference = call_.difference;
  const double start = seconds();
  try {
    meeting_ = rendezvous_->meet(own, windows_.locate(call.input, input_bytes),
                                 windows_.locate(call.output, output_bytes));
  } catch (const CollectiveError&) {
    if (num_local_ == size_) throw;
    try {
      // The other nodes wait for what this node says about the call, so it is said before the exception.
      if (!std::exchange(is_agreed_, true) && !other_nodes_agree()) tell_difference();
    } catch (const CollectiveError&) {  // the disagreement within the node is thrown instead
    }
    abandon_messages();
    throw;
  }
  const double end = seconds();
  traffic_.wait_seconds += end - start;
  report_wait({.begin = start, .end = end, .came = start, .node = node_rank_});
}

char* MpiGroup::input_of(int rank) const {
  return windows_.address(local_of(rank), meeting_.inputs[static_cast<size_t>(local_of(rank))]);
}

char* MpiGroup::output_of(int rank) const {
  return windows_.address(local_of(rank), meeting_.outputs[static_cast<size_t>(local_of(rank))]);
}

// Returns true if `bytes` of `rank`'s input go by a message to its peers on this node. For a rank of another
// node it always returns true.
bool MpiGroup::input_by_message(int rank, size_t bytes) const {
  const int l = local_of(rank);
  return l < 0 || (bytes > 0 && !meeting_.inputs[static_cast<size_t>(l)].reachable());
}

// True if `bytes` get to the output of `rank` by a message.
bool MpiGroup::output_by_message(int rank, size_t bytes) const {
  const int l = local_of(rank);
  return l < 0 || (bytes > 0 && !meeting_.outputs[static_cast<size_t>(l)].reachable());
}

// Returns only when all ranks have come: the announcements between nodes act as a barrier of their own.
void MpiGroup::gather_at(const Call& call) {
  announce(call);
  meet(call, 0, 0);
  agree();
}

void MpiGroup::barrier() {
  require_idle("barrier");
  gather_at({.kind = CallKind::barrier});
}

void MpiGroup::end_program() {
  require_idle("the end of its program");
  gather_at({.kind = CallKind::finished});
}

// Returns memory for slices that come by messages. It grows in the first step of a size and then stays. If no
// message comes, its pages are never touched.
char* MpiGroup::scratch(size_t bytes) {
  if (bytes > scratch_.bytes()) scratch_ = Buffer(bytes);
  return static_cast<char*>(scratch_.data());
}

// Posts the messages between this rank and the ranks of its node (`local`, after the meeting) or the ranks of
// other nodes, and notes where their elements will be.
void MpiGroup::post_slices(const Slices& slices, bool local) {
  const Range own = bytes_of(slices.offsets, rank_, slices.element_bytes);
  const size_t place_bytes = up_to_line(length(own));
  char* const received = scratch(static_cast<size_t>(size_ - 1) * place_bytes);
  for (int i = 1; i < size_; ++i) {
    const int r = other(i);
    if (is_local(r) != local) continue;
    const void*& slice = inputs_[static_cast<size_t>(r)];
    if (length(own) == 0) {
      slice = nullptr;
    } else if (input_by_message(r, length(own))) {
      char* const place = received + static_cast<size_t>(i - 1) * place_bytes;
      messages_->receive(place, length(own), r);
      slice = place;
    } else {
      slice = input_of(r) + own.begin;
    }
  }
  for (int i = 1; i < size_; ++i) {
    if (is_local(other(i)) != local) continue;
    const Range slice = bytes_of(slices.offsets, other(i), slices.element_bytes);
    const bool sends = length(slice) > 0 && (!local || input_by_message(rank_, length(slice)));
    if (sends) messages_->send(slices.input + slice.begin, length(slice), other(i));
  }
}

// Sets inputs_[r] to rank r's elements of this rank's slice. Messages of other nodes were posted before.
void MpiGroup::collect_slices(const char* collective, const Slices& slices) {
  const Range own = bytes_of(slices.offsets, rank_, slices.element_bytes);
  inputs_[static_cast<size_t>(rank_)] = length(own) == 0 ? nullptr : slices.input + own.begin;
  post_slices(slices, true);
  agree();
  messages_->finish(collective);
}

// Sends this rank's slice of `output` to the ranks whose memory it could not write in place, and receives
// their slices.
void MpiGroup::spread_slices(const char* collective, void* output, std::span<const int64_t> offsets,
                             size_t element_bytes) {
  const Range own = bytes_of(offsets, rank_, element_bytes);
  char* const mine = static_cast<char*>(output);
  for (int i = 1; i < size_; ++i) {
    const Range slice = bytes_of(offsets, other(i), element_bytes);
    if (length(slice) > 0 && output_by_message(is_local(other(i)) ? rank_ : other(i), length(slice)))
      messages_->receive(mine + slice.begin, length(slice), other(i));
  }
  for (int i = 1; i < size_; ++i) {
    if (length(own) > 0 && output_by_message(other(i), length(own)))
      messages_->send(mine + own.begin, length(own), other(i));
  }
  messages_->finish(collective);
}

// Rank d sums slice d of all inputs and writes the sum to the outputs that it can reach; the others get it as
// a message. This is right in place too: slice d of any rank's memory is read only by rank d, and a message
// is received into a slice only after that slice has been sent.
void MpiGroup::all_reduce(const void* input, DType input_dtype, void* output, DType output_dtype, int64_t n) {
  require_idle("all_reduce");
  check_count("all_reduce", n);
  const size_t in_bytes = dtype_bytes(input_dtype), out_bytes = dtype_bytes(output_dtype);
  const Call call{.kind = CallKind::all_reduce,
                  .input_dtype = input_dtype,
                  .output_dtype = output_dtype,
                  .n = n,
                  .input = input,
                  .output = output};
  // Slices are cut at multiples of kLineElements, so that two ranks do not share a cache line of an aligned
  // output.
  for (int r = 0; r < size_; ++r) {
    slices_[static_cast<size_t>(r) + 1] = line_share({0, n}, r, size_, kLineElements).end;
  }
  const Slices slices{static_cast<const char*>(input), slices_, in_bytes};
  announce(call);
  post_slices(slices, false);
  meet(call, static_cast<size_t>(n) * in_bytes, static_cast<size_t>(n) * out_bytes);
  collect_slices("all_reduce", slices);
  // Writes the sum of the own slice into each output that this rank can reach; spread_slices sends it to the
  // others.
  const int64_t own_begin = slices_[static_cast<size_t>(rank_)];
  const int64_t own = slices_[static_cast<size_t>(rank_) + 1] - own_begin;
  const size_t begin_bytes = static_cast<size_t>(own_begin) * out_bytes;
  outputs_.clear();
  if (own > 0) outputs_.push_back(static_cast<char*>(output) + begin_bytes);
  for (int i = 1; i < size_ && own > 0; ++i) {
    if (!output_by_message(other(i), static_cast<size_t>(own)))
      outputs_.push_back(output_of(other(i)) + begin_bytes);
  }
  team_sum(team_, {inputs_, input_dtype, 0, outputs_, output_dtype, 0, own});
  spread_slices("all_reduce", output, slices_, out_bytes);
  rendezvous_->part();
  count_reduce_scatter(traffic_, size_, own, n, in_bytes);
  count_all_gather(traffic_, size_, own, n, out_bytes);
  traffic_.network_bytes += all_reduce_network_bytes(nodes(), rank_, size_, n, in_bytes, out_bytes);
}

void MpiGroup::start_reduce_scatter(const void* input, DType input_dtype, std::span<const int64_t> offsets,
                                    void* output, DType output_dtype) {
  Group::start_reduce_scatter(input, input_dtype, offsets, output, output_dtype);
  announce(call_of(started()));
  post_slices({static_cast<const char*>(input), offsets, started().element_bytes}, false);
  fly();
}

// Sums this rank's slice of all inputs. finish() calls it when the ranks of the node have met.
void MpiGroup::reduce_slices(const Started& call) {
  const std::span<const int64_t> offsets = call.send_offsets;
  collect_slices(call.name(), {static_cast<const char*>(call.input), offsets, call.element_bytes});
  const size_t rank = static_cast<size_t>(rank_);
  const int64_t own = offsets[rank + 1] - offsets[rank];
  team_sum(team_, {inputs_, call.input_dtype, 0, {&call.output, 1}, call.output_dtype, 0, own});
  rendezvous_->part();
  count_reduce_scatter(traffic_, size_, own, offsets.back(), call.element_bytes);
}

// The functions from here on move rows as they are (all_gather and all_to_all in split phase) and make the
// memory for them.

Traffic MpiGroup::traffic() const {
  Traffic traffic = traffic_;
  traffic.num_messages = sent_.messages;
  traffic.message_bytes = sent_.bytes;
  if (on_node_ != nullptr) traffic += on_node_->traffic();
  return traffic;
}

std::shared_ptr<void> MpiGroup::exchange_memory(size_t bytes) {
  require_idle("exchange_memory");
  gather_at({.kind = CallKind::exchange_memory});
  std::shared_ptr<void> memory = windows_.make(bytes);
  // The team touches the pages first, so that they lie near its cores.
  team_.parallel_for(static_cast<int64_t>(bytes), [&](int64_t begin, int64_t end) {
    std::memset(static_cast<char*>(memory.get()) + begin, 0, static_cast<size_t>(end - begin));
  });
  return memory;
}

// The windows of a node have different addresses in its processes, so no memory is common and rows have to
// travel.
std::shared_ptr<void> MpiGroup::common_memory(size_t bytes) {
  require_idle("common_memory");
  gather_at({.kind = CallKind::common_memory, .n = static_cast<int64_t>(bytes)});
  return nullptr;
}

void MpiGroup::count_reads(std::span<const int64_t> send_offsets, std::span<const int64_t> receive_offsets,
                           size_t element_bytes) {
  check_offsets("count_reads", send_offsets, size_);
  check_offsets("count_reads", receive_offsets, size_);
  count_all_to_all(traffic_, rank_, send_offsets, receive_offsets, element_bytes);
  traffic_.network_bytes += static_cast<uint64_t>(nodes().elsewhere(send_offsets, rank_)) * element_bytes;
}

void MpiGroup::start_all_gather(const void* input, std::span<const int64_t> offsets, size_t element_bytes,
                                void* output) {
  Group::start_all_gather(input, offsets, element_bytes, output);
  post_to_other_nodes();
}

void MpiGroup::start_all_to_all(const void* input, std::span<const int64_t> send_offsets, void* output,
                                std::span<const int64_t> receive_offsets, size_t element_bytes) {
  Group::start_all_to_all(input, send_offsets, output, receive_offsets, element_bytes);
  post_to_other_nodes();
}

void MpiGroup::post_to_other_nodes() {
  announce(call_of(started()));
  for (int i = 1; i < size_; ++i) {
    if (is_local(other(i))) continue;
    const Rows in = received_far(started(), other(i));
    if (in.bytes > 0) messages_->receive(in.begin, in.bytes, other(i));
  }
  for (int i = 1; i < size_; ++i) {
    if (is_local(other(i))) continue;
    const Rows out = sent_far(started(), rank_, other(i));
    if (out.bytes > 0) messages_->send(out.begin, out.bytes, other(i));
  }
  fly();
}

// The library moves messages only inside of its calls, so the team makes such calls between pieces of its
// work.
void MpiGroup::fly() {
  if (num_local_ == size_) return;
  flight_begin_ = seconds();
  team_.set_poll([this] {
    move_on();
    ++traffic_.progress_calls;
  });
}

void MpiGroup::land() {
  if (num_local_ == size_) return;
  team_.set_poll({});
  traffic_.flight_seconds += seconds() - flight_begin_;
}

void MpiGroup::finish() {
  const Started call = take_started();
  traffic_.network_bytes += network_bytes(call);
  land();
  const bool to_all = call.kind == Collective::all_to_all;
  meet(call_of(call), input_bytes(call, rank_), 0);
  if (call.kind == Collective::reduce_scatter) return reduce_slices(call);
  move_local_rows(call);
  agree();
  messages_->finish(call.name());
  rendezvous_->part();
  if (to_all) return count_rows(call, traffic_);
  const size_t rank = static_cast<size_t>(rank_);
  const int64_t own = call.receive_offsets[rank + 1] - call.receive_offsets[rank];
  count_all_gather(traffic_, size_, own, call.receive_offsets.back(), call.element_bytes);
}

// Describes a round trip as an all_to_all. `n` is the number of parts, so that it does not match a plain
// all_to_all, whose `n` is 0.
Call MpiGroup::call_of_trip() const {
  return {.kind = CallKind::all_to_all,
          .n = trip().num_parts,
          .element_bytes = trip().row_bytes,
          .offsets = trip().send_offsets,
          .receive_offsets = trip().receive_offsets};
}

// With one part, no rank works while rows come. Answers that are sent early would only delay rows, because
// the go-ahead for one side's rows would wait behind the other side's rows.
bool MpiGroup::travels_in_parts(const RoundTrip& trip) const {
  return num_local_ < size_ && trip.num_parts > 1;
}

void MpiGroup::start_round_trip(const RoundTrip& trip) {
  if (!travels_in_parts(trip)) return Group::start_round_trip(trip);
  begin_trip(trip);
  trip_agreed_ = false;
  Call call = call_of_trip();
  call.rank = rank_;
  trip_messages_->start(trip, announce(call, digest_of(call, trip)));
  fly();
}

bool MpiGroup::has_landed(int part) { return travels_in_parts(trip()) && trip_messages_->has_landed(part); }

// The ranks of this node move all their rows when the first part is awaited. Moving them in parts would hide
// nothing but the waits for each other.
void MpiGroup::await(int part) {
  if (!travels_in_parts(trip())) return Group::await(part);
  if (trip_agreed_ && has_landed(part)) return trip_messages_->await(part);
  land();
  if (!std::exchange(trip_agreed_, true)) {
    const RoundTrip& t = trip();
    move_trip_rows({.kind = Collective::all_to_all,
                    .input = t.sent,
                    .send_offsets = t.send_offsets,
                    .output = t.received,
                    .receive_offsets = t.receive_offsets,
                    .element_bytes = t.row_bytes,
                    .far = t.far});
  }
  trip_messages_->await(part);
  fly();
}

void MpiGroup::answer(int part) {
  if (!travels_in_parts(trip())) return Group::answer(part);
  answered_ = seconds();
  trip_messages_->answer(part);
}

void MpiGroup::finish_round_trip() {
  if (!travels_in_parts(trip())) return Group::finish_round_trip();
  land();
  const RoundTrip& t = trip();
  move_trip_rows({.kind = Collective::all_to_all,
                  .input = t.answer,
                  .send_offsets = t.receive_offsets,
                  .output = t.answered,
                  .receive_offsets = t.send_offsets,
                  .element_bytes = t.row_bytes});
  const double start = seconds();
  trip_messages_->finish();
  report_wait_across(start, answered_);
}

// Moves one direction of a round trip within the node.
void MpiGroup::move_trip_rows(const Started& way) {
  Call call = call_of(way);
  call.n = trip().num_parts;
  meet(call, input_bytes(way, rank_), 0);
  move_local_rows(way);
  agree();
  messages_->finish(way.name());
  rendezvous_->part();
  count_rows(way, traffic_);
  traffic_.network_bytes += network_bytes(way);
}

// Copies the rows that this rank can reach in its peers' memory. Rows that come by a message are received
// where they belong and need no copy.
void MpiGroup::move_local_rows(const Started& call) {
  for (int i = 1; i < size_; ++i) {
    if (!is_local(other(i))) continue;
    const Rows in = received(call, other(i));
    if (input_by_message(other(i), in.bytes)) messages_->receive(in.begin, in.bytes, other(i));
  }
  for (int i = 1; i < size_; ++i) {
    if (!is_local(other(i))) continue;
    const Rows out = sent(call, rank_, other(i));
    if (input_by_message(rank_, out.bytes)) messages_->send(out.begin, out.bytes, other(i));
  }
  for (int r = 0; r < size_; ++r) inputs_[static_cast<size_t>(r)] = source_of(call, r);
  team_copy(team_, {inputs_, call.receive_offsets, call.element_bytes, call.output});
}

// Returns the place from which the rows of rank `from` are copied.
const void* MpiGroup::source_of(const Started& call, int from) const {
  const Rows in = received(call, from);
  if (from == rank_) return sent(call, rank_, rank_).begin;
  if (in.bytes == 0 || input_by_message(from, in.bytes)) return in.begin;
  if (call.kind == Collective::all_gather) return input_of(from);
  const Call& peer = meeting_.calls[static_cast<size_t>(local_of(from))];
  return input_of(from) + static_cast<size_t>(peer.offsets[static_cast<size_t>(rank_)]) * call.element_bytes;
}

}  // namespace moehill
