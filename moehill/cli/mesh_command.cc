// `moehill mesh` checks and times the collectives of a mesh by size, in the manner of nccl-tests. It shows
// what the links of a machine can do without a block around them. measure_mesh()
// (moehill/collectives/mesh_measurement.h) does the measuring.
//
//     moehill mesh -b 64K -e 16M --collective all_to_all --devices 4
//     mpirun -n 2 moehill mesh --collective all -b 1M -e 1M
#include <fmt/format.h>

#include <memory>

#include "moehill/cli/bench_options.h"
#include "moehill/cli/commands.h"
#include "moehill/cli/mesh_options.h"
#include "moehill/cli/output.h"
#include "moehill/collectives/mesh_report.h"
#include "moehill/machine/interruption.h"
#include "moehill/machine/memory.h"
#include "moehill/measure/memory_check.h"
#include "moehill/mesh/threads/thread_mesh.h"
#include "moehill/mesh/wait_limit.h"

namespace moehill {
namespace {

// Returns devices and threads as `moehill bench` would resolve them, so that the figures of both commands can
// be compared.
Layout layout_of(const MeshOptions& options, int num_cores) {
  BenchOptions bench;
  bench.mesh = options.mesh;
  bench.devices = options.devices;
  bench.threads_per_device = options.threads_per_device;
  return resolve_layout(bench, num_cores);
}

// Makes the mesh: of the job's processes under a launcher, else of threads in this process.
std::unique_ptr<Mesh> make_mesh(const Job& job, const Layout& layout, const std::vector<int>& core_cpus) {
  if (job.session() != nullptr) {
    return job.session()->make_mesh(
        {.threads_per_device = layout.threads_per_device, .node_cpus = core_cpus});
  }
  const size_t total = static_cast<size_t>(layout.num_devices * layout.threads_per_device);
  std::vector<int> cpus;  // stays empty, so threads are not pinned, if there are more threads than cores
  if (total <= core_cpus.size())
    cpus.assign(core_cpus.begin(), core_cpus.begin() + static_cast<int64_t>(total));
  return std::make_unique<ThreadMesh>(layout.num_devices, layout.threads_per_device, cpus);
}

// Runs on every process of the mesh. The process with device 0 prints and writes. All processes return the
// same exit status.
int run_on(Mesh& mesh, const Layout& layout, const MeshOptions& options, const Job& job,
           const Environment& environment) {
  const std::string time_utc = utc_now();
  LibraryGroupMaker library;
  if (job.session() != nullptr)
    library = [&](ThreadTeam& team) { return job.session()->make_library_group(team); };
  const StreamedTable table = mesh_table(options, library != nullptr);
  const bool prints = mesh.local_devices().begin == 0;
  std::FILE* const out = table_stream(options.json);
  if (prints) {
    warn_if_busy(layout.threads_per_device * static_cast<int>(mesh.local_devices().size()));
    // In a job the other processes go on until all end together.
    if (job.session() == nullptr) end_with_reader(options.json);
    show(fmt::format("{}{}", mesh_header(options, layout.num_devices, layout.threads_per_device),
                     table.header()),
         out);
  }
  Pace pace(cost_of(options), "the sizes of this table", tell);
  const auto print_row = [&](const CollectiveResult& r, double copy_bytes_per_s) {
    show(table.row(mesh_row(r, copy_bytes_per_s)), out);
    pace.done(cost_of(r));
  };
  // A signal ends the command after the size that is being measured.
  const Interruption interruption;
  const OtherWork others;
  const MeshResult result =
      measure_mesh(mesh, options, library, print_row, [&] { return interruption.signal() != 0; });
  const size_t num_done = result.collectives.size(),
               num_all = element_counts(options).size() * options.collectives.size();
  const int signal = static_cast<int>(job.largest(num_done < num_all ? interruption.signal() : 0));
  const int done = signal == 0 ? kExitDone : kExitSignal + signal;
  const int status = num_failed(result) == 0 ? done : kExitCheckFailed;
  if (!prints) return status;
  // In a job OtherWork would count the other processes as other work.
  show(interrupted_line(signal, num_done, num_all, "size") + mesh_closing(result) +
           (job.session() == nullptr ? others.line() : ""),
       out);
  write_json_lines(options.json, mesh_records(options, result, environment, time_utc));
  return status;
}

}  // namespace

int mesh_command(const std::vector<std::string>& args, const Job& job) {
  Environment environment = detect_environment();
  Layout layout;
  const std::optional<MeshOptions> options = job.together([&] {
    std::optional<MeshOptions> parsed = parse_mesh_options(args);
    if (!parsed) return parsed;
    adopt_job(job, parsed->mesh, parsed->devices, parsed->threads_per_device);
    if (job.is_root()) require_writable_json(parsed->json);
    layout = layout_of(*parsed, environment.topology.num_cores);
    // Each process looks at its own node, whose memory it shares with the node's other processes.
    const int here = job.session() != nullptr ? job.session()->node_size() : layout.num_devices;
    refuse_too_much_memory(predict_mesh_memory(*parsed, layout.num_devices, here), available_memory_bytes(),
                           "choose a smaller --max-bytes or fewer --devices");
    return parsed;
  });
  if (!options) return kExitDone;
  if (job.session() != nullptr) {
    environment.mpi = job.session()->library();
    environment.num_nodes = job.session()->num_nodes();
  }
  // A process may wait for a slow peer as long as the largest message takes on a very slow link.
  constexpr double kLeastSeconds = 30, kSlowestBytes = 5e6;  // B/s of any link
  if (job.session() != nullptr && options->timeout_s == 0)
    set_wait_limit(kLeastSeconds +
                   static_cast<double>(options->max_bytes) * layout.num_devices / kSlowestBytes);
  const std::unique_ptr<Mesh> mesh = make_mesh(job, layout, environment.topology.core_cpus);
  return run_on(*mesh, layout, *options, job, environment);
}

}  // namespace moehill
