// Read passes are the readings of other memory that empty the caches before each step. All processes of a job
// begin a pass together, so its rate is a bandwidth that the machine really had.
//
//     const double rate = fastest_pass(job.gather({bytes_1, seconds_1, bytes_2, seconds_2}));   // B/s
#pragma once

#include <vector>

namespace moehill {

// Returns the B/s of all processes together in their fastest pass; 0 without one. Each process has the bytes
// and seconds of its passes, one after the other. It has as many passes as the others, and 0 bytes in those
// in which it took no part.
double fastest_pass(const std::vector<std::vector<double>>& processes);

}  // namespace moehill
