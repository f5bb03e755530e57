// PeerSamples turns the samples of `peers/compare --json` into curves of a picture. That program measures
// moehill and other libraries in turn. The curves show the share of the peak by top-k (steps) or by rows of a
// group (products). This file judges nothing; the table that `peers/compare --table` makes of the same
// samples has the ratios with their intervals.
//
//   const PeerPanels peers = peer_panels("samples.jsonl");
//   file << curve_picture("share of the peak", peers.x_title, peers.panels);   // SVG
#pragma once

#include <string>
#include <vector>

#include "moehill/report/picture.h"

namespace moehill {

// True if the file's first line is such a sample.
bool has_peer_samples(const std::string& path);

// PeerPanels are the panels of one picture, which share the axis below them.
struct PeerPanels {
  std::string x_title;  // "top-k" or "rows of a group"
  std::vector<CurvePanel> panels;
};
// Shares are FLOPs / seconds over the peak that moehill measured in the same case, in percent. Throws
// InputError for a line that is no sample, and for steps and products in one file, which have no common axis.
PeerPanels peer_panels(const std::string& path);

}  // namespace moehill
