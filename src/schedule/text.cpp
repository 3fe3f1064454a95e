#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>

#include "schedule/schedule.hpp"

namespace einjit {
namespace {

constexpr std::int64_t kLongestMerge = 1 << 20;
constexpr const char* kRoleNames[] = {"vec", "unroll", "reduce"};

struct Word {
  std::string_view text;
  int begin;
};

// Words of the text; ',' ends a tile variable and is a word of its own, as are line ends.
std::vector<Word> split(std::string_view text) {
  std::vector<Word> words;
  for (std::size_t p = 0; p < text.size();) {
    const char c = text[p];
    if (c == ' ' || c == '\t' || c == '\r') {
      ++p;
    } else if (c == ',' || c == ';' || c == '\n') {
      words.push_back({text.substr(p, 1), static_cast<int>(p)});
      ++p;
    } else {
      const std::size_t end = std::min(text.find_first_of(" \t\r,;\n", p), text.size());
      words.push_back({text.substr(p, end - p), static_cast<int>(p)});
      p = end;
    }
  }
  return words;
}

class ScheduleParser {
 public:
  ScheduleParser(std::string_view text, const Contraction& c)
      : text_(text), contraction_(c), words_(split(text)) {}

  Result<Schedule> run() {
    bool has_tile = false;
    while (position_ < words_.size()) {
      if (is_line_end()) {
        ++position_;
        continue;
      }
      const std::string_view word = take();
      if (has_tile) return fail("nothing may follow the tile");
      Result<void> done =
          word == "loop"     ? parse_loop()
          : word == "pack"   ? parse_pack()
          : word == "buffer" ? parse_buffer()
          : word == "tile"   ? parse_tile()
          : word == "factor" ? parse_factored()
          : word == "stream" || word == "prefetch"
              ? parse_hint(word)
              : fail("expected 'loop', 'pack', 'buffer', 'factor', 'stream', 'prefetch' or 'tile'");
      if (!done) return std::unexpected(done.error());
      has_tile = word == "tile";
      if (position_ < words_.size() && !is_line_end()) {
        ++position_;
        return fail("unexpected word");
      }
    }
    if (!has_tile) return fail("the schedule has no tile");
    return std::move(schedule_);
  }

 private:
  bool at_end() const { return position_ >= words_.size(); }
  bool is_line_end() const {
    return words_[position_].text == "\n" || words_[position_].text == ";";
  }
  bool next_is(std::string_view word) const { return !at_end() && words_[position_].text == word; }
  std::string_view take() {
    const std::string_view word = at_end() ? std::string_view() : words_[position_].text;
    ++position_;
    return word;
  }

  // An error at the word taken last.
  std::unexpected<Diagnostic> fail(std::string message) const {
    const int end = static_cast<int>(text_.size());
    SourceRange where{end, end};
    if (position_ > 0 && position_ - 1 < words_.size()) {
      const Word& word = words_[position_ - 1];
      where = {word.begin, word.begin + static_cast<int>(word.text.size())};
    }
    return std::unexpected(
        Diagnostic{"schedule: " + std::move(message), std::string(text_), where});
  }

  Result<Label> parse_label() {
    const std::string_view word = take();
    const auto it = std::ranges::find(contraction_.names, word);
    if (it == contraction_.names.end())
      return fail(fmt::format("not a label of the contraction, which has {}",
                              fmt::join(contraction_.names, ", ")));
    return static_cast<Label>(it - contraction_.names.begin());
  }

  Result<std::int64_t> parse_number() {
    const std::string_view word = take();
    std::int64_t value = 0;
    const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), value);
    if (error != std::errc() || end != word.data() + word.size() || value < 1)
      return fail("expected a positive number");
    return value;
  }

  bool next_is_number() const {
    return !at_end() && words_[position_].text[0] >= '0' && words_[position_].text[0] <= '9';
  }

  Result<void> parse_loop() {
    Result<Label> label = parse_label();
    if (!label) return std::unexpected(label.error());
    Result<std::int64_t> step = parse_number();
    if (!step) return std::unexpected(step.error());
    LoopSpec loop{*label, *step};
    if (next_is("parallel")) {
      take();
      loop.order = Order::parallel;
    } else if (next_is("aligned")) {
      take();
      loop.is_aligned = true;
    } else if (next_is("carried")) {
      take();
      loop.is_carried = true;
    }
    if (next_is("diagonal")) {
      take();
      loop.is_diagonal = true;
    }
    schedule_.outer.emplace_back(loop);
    return {};
  }

  Result<void> parse_pack() {
    const std::string_view word = take();
    const std::size_t star = word.find('*');
    PackSpec pack{input_named(word.substr(0, star))};
    if (star != std::string_view::npos) pack.factor = input_named(word.substr(star + 1));
    if (pack.operand < 0 || (star != std::string_view::npos && pack.factor < 0))
      return fail("expected an operand: in0, in1, ..., or a product: in1*in2");
    if (next_is("ahead")) {
      take();
      pack.is_ahead = true;
    }
    schedule_.outer.emplace_back(pack);
    return {};
  }

  Result<void> parse_buffer() {
    if (take() != "out") return fail("expected 'out'");
    schedule_.outer.emplace_back(BufferSpec{});
    return {};
  }

  // The number of an input by its name, or -1.
  int input_named(std::string_view word) const {
    for (std::size_t k = 0; k < contraction_.in.size(); ++k)
      if (word == fmt::format("in{}", k)) return static_cast<int>(k);
    return -1;
  }

  Result<void> parse_hint(std::string_view word) {
    if (word == "prefetch" && !next_is("out")) return parse_ahead();
    if (take() != "out") return fail("expected 'out'");
    if (word == "stream")
      schedule_.store = Store::streaming;
    else
      schedule_.prefetch = Prefetch::output;
    return {};
  }

  Result<void> parse_factored() {
    if (take() != "out") return fail("expected 'out'");
    const int operand = input_named(take());
    if (operand < 0 || operand >= kMostFactors) return fail("expected an operand: in0, in1, ...");
    schedule_.factored_out |= 1u << operand;
    return {};
  }

  Result<void> parse_ahead() {
    const std::string_view word = take();
    for (std::size_t k = 0; k < contraction_.in.size(); ++k)
      if (word == fmt::format("in{}", k)) {
        if (next_is("next")) {
          take();
          schedule_.outer.emplace_back(NextSpec{static_cast<int>(k)});
          return {};
        }
        Result<Label> label = parse_label();
        if (!label) return std::unexpected(label.error());
        Result<std::int64_t> distance = parse_number();
        if (!distance) return std::unexpected(distance.error());
        schedule_.ahead.push_back({static_cast<int>(k), *label, *distance});
        return {};
      }
    return fail("expected 'out' or an operand: in0, in1, ...");
  }

  Result<void> parse_tile() {
    while (!at_end() && !is_line_end()) {
      Result<Label> label = parse_label();
      if (!label) return std::unexpected(label.error());
      TileVar var{*label, Role::vec};
      const auto role = std::ranges::find(kRoleNames, take());
      if (role == std::end(kRoleNames)) return fail("expected 'vec', 'unroll' or 'reduce'");
      var.role = static_cast<Role>(role - kRoleNames);
      if (var.role != Role::reduce || next_is_number()) {
        Result<std::int64_t> factor = parse_number();
        if (!factor) return std::unexpected(factor.error());
        var.factor = *factor;
      }
      if (next_is("chains")) {
        take();
        Result<std::int64_t> chains = parse_number();
        if (!chains) return std::unexpected(chains.error());
        if (*chains > 64) return fail("at most 64 chains");
        var.chains = static_cast<int>(*chains);
      }
      if (next_is("halved")) {
        take();
        var.is_halved = true;
      }
      if (next_is("kept")) {
        take();
        var.is_kept = true;
      }
      if (next_is("gray")) {
        take();
        var.is_gray = true;
      }
      if (next_is("merge")) {
        take();
        Result<std::int64_t> merge = parse_number();
        if (!merge) return std::unexpected(merge.error());
        if (*merge > kLongestMerge) return fail(fmt::format("at most {} trips", kLongestMerge));
        var.merge = static_cast<int>(*merge);
      }
      schedule_.tile.push_back(var);
      if (!next_is(",")) break;
      take();
    }
    return {};
  }

  std::string_view text_;
  const Contraction& contraction_;
  std::vector<Word> words_;
  std::size_t position_ = 0;
  Schedule schedule_;
};

}  // namespace

std::string to_string(const Schedule& schedule, const Contraction& c) {
  std::string text;
  for (const auto& item : schedule.outer) {
    if (const auto* loop = std::get_if<LoopSpec>(&item)) {
      text += fmt::format("loop {} {}{}{}{}{}\n", c.names[loop->label], loop->step,
                          loop->order == Order::parallel ? " parallel" : "",
                          loop->is_aligned ? " aligned" : "", loop->is_carried ? " carried" : "",
                          loop->is_diagonal ? " diagonal" : "");
    } else if (const auto* pack = std::get_if<PackSpec>(&item)) {
      const std::string factor = pack->factor < 0 ? "" : fmt::format("*in{}", pack->factor);
      text += fmt::format("pack in{}{}{}\n", pack->operand, factor, pack->is_ahead ? " ahead" : "");
    } else if (const auto* next = std::get_if<NextSpec>(&item)) {
      text += fmt::format("prefetch in{} next\n", next->operand);
    } else {
      text += "buffer out\n";
    }
  }
  for (int k = 0; k < kMostFactors; ++k)
    if (schedule.factored_out >> k & 1) text += fmt::format("factor out in{}\n", k);
  if (schedule.store == Store::streaming) text += "stream out\n";
  if (schedule.prefetch == Prefetch::output) text += "prefetch out\n";
  for (const AheadSpec& a : schedule.ahead)
    text += fmt::format("prefetch in{} {} {}\n", a.operand, c.names[a.label], a.distance);
  text += "tile";
  for (std::size_t v = 0; v < schedule.tile.size(); ++v) {
    const TileVar& var = schedule.tile[v];
    text += fmt::format("{} {} {}", v ? "," : "", c.names[var.label],
                        kRoleNames[static_cast<int>(var.role)]);
    if (var.role != Role::reduce || var.factor > 1) text += fmt::format(" {}", var.factor);
    if (var.chains > 1) text += fmt::format(" chains {}", var.chains);
    if (var.is_halved) text += " halved";
    if (var.is_kept) text += " kept";
    if (var.is_gray) text += " gray";
    if (var.merge > 0) text += fmt::format(" merge {}", var.merge);
  }
  return text + "\n";
}

Result<Schedule> parse_schedule(std::string_view text, const Contraction& contraction) {
  return ScheduleParser(text, contraction).run();
}

}  // namespace einjit
