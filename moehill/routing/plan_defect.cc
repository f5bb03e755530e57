// plan_defect() finds the faults of a plan. It uses only the plan and the routing, and none of the builder's
// code, so that an error of the builder cannot hide itself. It does not judge whether the routing is good.
//
//   const std::string defect = plan_defect(plan, routing);   // "" if the plan is right
#include <algorithm>

#include "moehill/base/error.h"
#include "moehill/base/partition.h"
#include "moehill/base/table.h"
#include "moehill/routing/plan.h"

namespace moehill {
namespace {

// PlanCheck has the checks, in order. Each assumes that the checks before it found nothing.
class PlanCheck {
 public:
  PlanCheck(const RoutingPlan& plan, const Routing& routing, const Capacity* capacity)
      : plan_(plan), routing_(routing), capacity_(capacity) {}

  std::string first_defect() const {
    std::string defect = sizes();
    if (defect.empty()) defect = offsets();
    if (defect.empty()) defect = rows();
    if (defect.empty()) defect = padding();
    if (defect.empty()) defect = assignments();
    if (defect.empty()) defect = drops();
    return defect;
  }

 private:
  int num_held() const { return plan_.expert_end - plan_.expert_begin; }
  bool is_masked() const { return plan_.num_groups() == num_held() + 1; }
  bool holds(int expert) const { return expert >= plan_.expert_begin && expert < plan_.expert_end; }
  int64_t num_assignments() const { return static_cast<int64_t>(routing_.expert.size()); }

  std::string sizes() const {
    if (plan_.num_tokens != routing_.num_tokens || plan_.num_experts != routing_.num_experts ||
        plan_.topk != routing_.topk) {
      return "the plan is of another shape than the routing";
    }
    if (num_assignments() != plan_.num_tokens * plan_.topk) return "the routing has not T * k expert ids";
    if (plan_.expert_begin < 0 || num_held() < 0 || plan_.expert_end > plan_.num_experts) {
      return fmt::format("held experts [{}, {}) of {}", plan_.expert_begin, plan_.expert_end,
                         plan_.num_experts);
    }
    if (plan_.num_groups() != num_held() && !is_masked()) {
      return fmt::format("{} for {}", count_text(plan_.num_groups(), "group"),
                         count_text(num_held(), "held expert"));
    }
    if (plan_.assignment_row.size() != routing_.expert.size()) return "assignment_row has not T * k elements";
    return "";
  }

  std::string offsets() const {
    if (plan_.group_offset[0] != 0) return fmt::format("group 0 begins at row {}", plan_.group_offset[0]);
    for (int g = 0; g < plan_.num_groups(); ++g) {
      const int64_t begin = plan_.group_offset[idx(g)], end = plan_.group_offset[idx(g + 1)];
      if (begin > end) return fmt::format("group {} goes from row {} back to row {}", g, begin, end);
    }
    const size_t num_rows = idx(plan_.num_rows());
    if (plan_.row_token.size() != num_rows || plan_.row_assignment.size() != num_rows) {
      return fmt::format("row_token has {} and row_assignment {} elements for {} rows",
                         plan_.row_token.size(), plan_.row_assignment.size(), num_rows);
    }
    return "";
  }

  // Together with assignments(), this check shows that rows (without padding) and assignments that have a row
  // correspond one to one.
  std::string rows() const {
    int64_t last_other = -1;
    for (int g = 0; g < plan_.num_groups(); ++g) {
      for (int64_t row = plan_.group_offset[idx(g)]; row < plan_.group_offset[idx(g + 1)]; ++row) {
        const int64_t token = plan_.row_token[idx(row)], a = plan_.row_assignment[idx(row)];
        if (token == -1 && a == -1) continue;
        if (a < 0 || a >= num_assignments() || token != a / plan_.topk) {
          return fmt::format("row {} has token {} and assignment {}", row, token, a);
        }
        if (plan_.assignment_row[idx(a)] != row) {
          return fmt::format("row {} is of assignment {}, whose row is {}", row, a,
                             plan_.assignment_row[idx(a)]);
        }
        const int expert = routing_.expert[idx(a)];
        if (g < num_held() ? expert != plan_.expert_begin + g : holds(expert)) {
          return fmt::format("row {} of group {} is of expert {}", row, g, expert);
        }
        if (g == num_held() && a < last_other) return fmt::format("row {} is out of assignment order", row);
        if (g == num_held()) last_other = a;
      }
    }
    return "";
  }

  std::string padding() const {
    const auto is_padding = [&](int64_t row) { return plan_.row_assignment[idx(row)] == -1; };
    bool has_padding = false;
    for (int g = 0; g < plan_.num_groups(); ++g) {
      const int64_t begin = plan_.group_offset[idx(g)], end = plan_.group_offset[idx(g + 1)];
      for (int64_t row = begin + 1; row < end; ++row) {
        if (is_padding(row - 1) && !is_padding(row))
          return fmt::format("row {} of group {} follows padding", row, g);
      }
      if (begin == end || !is_padding(end - 1)) continue;
      if (g == num_held()) return "the group of the other experts has padding";
      has_padding = true;
    }
    const bool is_pad_known = capacity_ && capacity_->policy == CapacityPolicy::pad;
    if (capacity_ && !is_pad_known && has_padding) return "padding without the policy pad";
    if (!is_pad_known && !has_padding) return "";
    const int64_t expected = is_pad_known ? known_capacity() : plan_.group_offset[1];
    for (int g = 0; g < num_held(); ++g) {
      const int64_t got = plan_.group_offset[idx(g + 1)] - plan_.group_offset[idx(g)];
      if (got != expected)
        return fmt::format("group {} has {}, padded ones have {}", g, count_text(got, "row"), expected);
    }
    return "";
  }

  std::string assignments() const {
    for (int64_t a = 0; a < num_assignments(); ++a) {
      const int64_t row = plan_.assignment_row[idx(a)];
      if (row == -1) continue;
      if (row < 0 || row >= plan_.num_rows() || plan_.row_assignment[idx(row)] != a) {
        return fmt::format("assignment {} has row {}, which is not its own", a, row);
      }
    }
    return "";
  }

  // The first C assignments of an expert are kept and the others dropped. If C is not given, it is taken from
  // the plan: the fewest rows, with padding, of an expert with a dropped assignment. C must be the same for
  // all experts.
  std::string drops() const {
    std::vector<int64_t> kept(idx(plan_.num_experts), 0), dropped(idx(plan_.num_experts), 0);
    int64_t num_dropped = 0;
    for (int64_t a = 0; a < num_assignments(); ++a) {
      const int expert = routing_.expert[idx(a)];
      const bool is_kept = plan_.assignment_row[idx(a)] >= 0;
      if (expert == kNoExpert && !is_kept) continue;
      if (expert < 0 || expert >= plan_.num_experts)
        return fmt::format("assignment {} is of expert {}", a, expert);
      if (!holds(expert) && !is_masked()) continue;
      if (is_kept && dropped[idx(expert)] > 0) {
        return fmt::format("assignment {} of expert {} is kept after an earlier one was dropped", a, expert);
      }
      ++(is_kept ? kept : dropped)[idx(expert)];
      num_dropped += !is_kept && holds(expert);
    }
    if (num_dropped != plan_.num_dropped) {
      return fmt::format(
          "{} no row, num_dropped is {}",
          count_text(num_dropped, "assignment of held experts has", "assignments of held experts have"),
          plan_.num_dropped);
    }
    return limits(kept, dropped);
  }

  std::string limits(const std::vector<int64_t>& kept, const std::vector<int64_t>& dropped) const {
    int64_t limit = num_assignments();
    if (capacity_) {
      limit = known_capacity();
    } else {
      for (int e = 0; e < plan_.num_experts; ++e) {
        if (dropped[idx(e)] > 0) limit = std::min(limit, holds(e) ? rows_of(e) : kept[idx(e)]);
      }
    }
    for (int e = 0; e < plan_.num_experts; ++e) {
      if (kept[idx(e)] > limit || (dropped[idx(e)] > 0 && kept[idx(e)] < limit)) {
        return fmt::format("expert {} keeps {} and drops {}, capacity {}", e,
                           count_text(kept[idx(e)], "assignment"), dropped[idx(e)], limit);
      }
    }
    return "";
  }

  int64_t rows_of(int expert) const {
    const size_t group = idx(expert - plan_.expert_begin);
    return plan_.group_offset[group + 1] - plan_.group_offset[group];
  }

  int64_t known_capacity() const { return capacity_rows(*capacity_, num_assignments(), plan_.num_experts); }

  const RoutingPlan& plan_;
  const Routing& routing_;
  const Capacity* capacity_;
};

}  // namespace

std::string plan_defect(const RoutingPlan& plan, const Routing& routing, const Capacity* capacity) {
  return PlanCheck(plan, routing, capacity).first_defect();
}

}  // namespace moehill
