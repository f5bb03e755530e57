// Implementation of predict/published_model.h: the report as text.
#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "moehill/base/table.h"
#include "moehill/predict/published_model.h"

namespace moehill {
namespace {

constexpr double kFits = 0.1;  // a row fits if no larger share of its pairs is wrong

std::string label_of(const PublishedRow& row) {
  const auto size = [&](const char* name) {
    const auto found = row.sizes.find(name);
    return found == row.sizes.end() ? 0 : found->second;
  };
  std::string text = fmt::format("{} {}/{}/{} top-{}", row.parallel_mode, size("hidden"), size("mlp_dim"),
                                 size("experts"), size("topk"));
  if (size("shared_expert_dim") > 0) text += fmt::format(" shared {}", size("shared_expert_dim"));
  text += " " + row.pass;
  const bool masked = row.extra.contains("implied_ici_GBps") ||
                      (row.extra.contains("ep") && row.extra.at("ep").rfind("dense_masked", 0) == 0);
  return masked ? text + ", masked" : text;
}

// Returns why the model's rate is off, as far as the parts of its time tell.
std::string reason_of(const PublishedExpectation& e) {
  const double ratio = e.predicted_tflops() / e.published_tflops;
  const PublishedSeconds& s = e.seconds;
  const std::pair<double, const char*> parts[] = {
      {s.products, "products"},     {s.rows, "row operations"},
      {s.links, "links"},           {s.moved, "operands moved inside the clock"},
      {s.copied, "weights copied"}, {s.padding, "padding"}};
  const auto most = std::max_element(std::begin(parts), std::end(parts));
  return fmt::format("{} by {:.0f} %; {:.0f} % of its time are {}", ratio > 1 ? "too fast" : "too slow",
                     100 * std::abs(ratio - 1), 100 * most->first / s.total(), most->second);
}

std::string misfits(const PublishedOrder& order) {
  std::map<std::string, std::pair<int, const PublishedExpectation*>> by_label;  // equal rows once
  for (const PublishedExpectation& e : order.rows) {
    if (e.num_wrong <= kFits * e.num_pairs) continue;
    auto& [count, worst] = by_label[label_of(e.row)];
    ++count;
    if (worst == nullptr || e.num_wrong > worst->num_wrong) worst = &e;
  }
  std::vector<std::pair<int, const PublishedExpectation*>> rows;
  for (const auto& [label, entry] : by_label) rows.push_back(entry);
  std::stable_sort(rows.begin(), rows.end(),
                   [](const auto& a, const auto& b) { return a.second->num_wrong > b.second->num_wrong; });
  std::vector<std::vector<std::string>> cells;
  for (const auto& [count, e] : rows) {
    cells.push_back({label_of(e->row), std::to_string(count),
                     fmt::format("{:.0f}", 1e3 * e->published_tflops),
                     fmt::format("{:.0f}", 1e3 * e->predicted_tflops()),
                     fmt::format("{} of {}", e->num_wrong, e->num_pairs), reason_of(*e)});
  }
  if (cells.empty()) return "every row fits: at most 10 % of its pairs are wrong\n";
  return "\nrows that do not fit: more than 10 % of their pairs are wrong\n" +
         format_table({"row", "like it", "published GF/s", "predicted", "wrong pairs", "the model is"},
                      cells);
}

}  // namespace

std::string published_report(const PublishedOrder& order, const PublishedOrder& without_defects,
                             const Hardware& hardware) {
  return fmt::format(
             "{} published rows on {}: of {} pairs that differ by more than 10 %, {:.1f} % are in the order "
             "that the model predicts\nwithout the known defects (one chip against four, operands moved and "
             "copied inside the clock, padding, small blocks): {:.1f} %\n",
             order.rows.size(), hardware.name, order.num_pairs, 100 * order.share_right(),
             100 * without_defects.share_right()) +
         misfits(order);
}

}  // namespace moehill
