// The probe's file: where it lies, what it holds, and whether it still describes this machine.
// probe/probe_measurement.h measures what stands in it.
//
//     const std::optional<Probe> probe = find_probe();   // empty: nobody has probed this machine
//     if (probe && stale_reason(*probe, environment).empty()) use(probe->hardware);
#pragma once

#include <optional>
#include <string>

#include "moehill/probe/probe_measurement.h"

namespace moehill {

// Returns the file that MOEHILL_PROBE names, otherwise probe.json of data_file().
std::string default_probe_file();
// Returns a file of this user's data folder: $XDG_DATA_HOME/moehill if that is an absolute path, otherwise
// ~/.local/share/moehill. Empty if there is neither that path nor a home.
std::string data_file(const std::string& name);

void write_probe(const Probe& probe, const std::string& path);
// Throws InputError for a file that is no probe.
Probe read_probe(const std::string& path);
// Returns nothing if there is no file.
std::optional<Probe> find_probe(const std::string& path = default_probe_file());

// Says why the probe no longer describes what this program would run on; empty if it still does.
std::string stale_reason(const Probe& probe, const Environment& environment);
// True if CPU, cores and, as far as it is known, the SIMD target are those of the probe. Otherwise a
// prediction would be for another machine.
bool is_of_machine(const Probe& probe, const Environment& environment);

}  // namespace moehill
