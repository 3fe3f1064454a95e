#include <fmt/format.h>

#include "loop_ir/loop_nest.hpp"

namespace einjit {
namespace {

class Printer {
 public:
  explicit Printer(const LoopNest& nest) : nest_(nest) {}

  std::string run() {
    text_ = fmt::format("nest {}", name_of(nest_.contraction.dtype));
    for (std::size_t k = 0; k < nest_.contraction.in.size(); ++k) text_ += fmt::format(" in{}", k);
    text_ += '\n';
    print(nest_.body, 0);
    return std::move(text_);
  }

 private:
  const std::string& name(Label label) const { return nest_.contraction.names[label]; }

  std::string buffer_name(int buffer) const {
    if (buffer == 0) return "out";
    if (buffer < nest_.first_scratch()) return fmt::format("in{}", buffer - 1);
    return fmt::format("p{}", buffer - nest_.first_scratch());
  }

  std::string ref_text(const Ref& ref) const {
    std::string text = buffer_name(ref.buffer) + "[";
    bool first = true;
    for (Label l = 0; l < nest_.contraction.label_count(); ++l) {
      const Stride stride = ref.strides[l];
      if (stride == Stride{}) continue;
      text += fmt::format("{}{}:{}", first ? "" : " ", name(l), stride.outer);
      if (stride.inner != stride.outer) text += fmt::format("|{}", stride.inner);
      first = false;
    }
    return text + "]";
  }

  void print(const Block& block, int depth) {
    for (const Node& node : block)
      std::visit([&](const auto& n) { print(n, std::string(2 * depth, ' '), depth); }, node.value);
  }

  void print(const For& loop, const std::string& indent, int depth) {
    text_ += fmt::format("{}{} {} step {}{}{}{}\n", indent,
                         loop.order == Order::parallel ? "parallel for" : "for", name(loop.label),
                         loop.step, loop.is_aligned ? " aligned" : "",
                         loop.is_carried ? " carried" : "", loop.is_diagonal ? " diagonal" : "");
    print(loop.body, depth + 1);
  }

  void print(const Alloc& alloc, const std::string& indent, int depth) {
    const Buffer& buffer = nest_.scratch[alloc.buffer - nest_.first_scratch()];
    text_ += fmt::format("{}alloc {}[{}] {}\n", indent, buffer_name(alloc.buffer), buffer.elements,
                         buffer.scope == Scope::shared ? "shared" : "worker");
    print(alloc.body, depth + 1);
  }

  void print(const Ask& ask, const std::string& indent, int depth) {
    text_ += fmt::format("{}ask in{}\n", indent, ask.input);
    print(ask.body, depth + 1);
  }

  void print(const Drain& drain, const std::string& indent, int) {
    text_ += fmt::format("{}drain {} to out{}\n", indent, buffer_name(drain.buffer),
                         drain.asks ? ", a line ahead with each" : "");
  }

  void print(const Tile& tile, const std::string& indent, int) {
    constexpr const char* kUpdates[] = {"=", "+=", "<-"};
    text_ += fmt::format("{}tile {} {} ", indent, ref_text(tile.out),
                         kUpdates[static_cast<int>(tile.update)]);
    for (std::size_t k = 0; k < tile.in.size(); ++k)
      text_ += (k ? " * " : "") + ref_text(tile.in[k]);
    if (tile.in.empty()) text_ += "0";
    const Schedule only_tile{{}, tile.vars};
    std::string vars = einjit::to_string(only_tile, nest_.contraction).substr(5);
    if (tile.store == Store::streaming) vars.insert(vars.size() - 1, ", streamed");
    if (tile.carry) vars.insert(vars.size() - 1, ", carried in " + ref_text(*tile.carry));
    if (tile.prefetch == Prefetch::output) vars.insert(vars.size() - 1, ", prefetched");
    if (tile.pace.lines > 0)
      vars.insert(vars.size() - 1, fmt::format(", {} lines ahead a {}", tile.pace.lines,
                                               tile.pace.per_step ? "step" : "tile"));
    for (std::size_t k = 0; k < tile.ahead.size(); ++k)
      if (tile.ahead[k] != 0)
        vars.insert(vars.size() - 1, fmt::format(", in{} {} ahead", k, tile.ahead[k]));
    for (std::size_t k = 0; k < tile.in.size(); ++k)
      if (tile.factored_out >> k & 1)
        vars.insert(vars.size() - 1, fmt::format(", {} factored out", ref_text(tile.in[k])));
    text_ += "  " + vars;
  }

  const LoopNest& nest_;
  std::string text_;
};

}  // namespace

std::string LoopNest::to_string() const { return Printer(*this).run(); }

bool is_summed(const Tile& tile, Label label) { return tile.out.strides[label] == Stride{}; }

}  // namespace einjit
