// The probe's file: where it lies, what is in it, and whether it still speaks of this machine.
#pragma once

#include <optional>
#include <string>

#include "moehill/probe/probe_measurement.h"

namespace moehill {

// $XDG_DATA_HOME/moehill/probe.json, or ~/.local/share/moehill/probe.json; MOEHILL_PROBE names another file.
// Empty where there is no home.
std::string default_probe_file();
// A file of this user's data folder: $XDG_DATA_HOME/moehill, else ~/.local/share/moehill; empty without a
// home.
std::string data_file(const std::string& name);

void write_probe(const Probe& probe, const std::string& path);
// Throws InputError for a file that is none.
Probe read_probe(const std::string& path);
// Returns nothing where there is no file.
std::optional<Probe> find_probe(const std::string& path = default_probe_file());

// Says why the probe no longer describes what this program would run on; empty: it does.
std::string stale_reason(const Probe& probe, const Environment& environment);

}  // namespace moehill
