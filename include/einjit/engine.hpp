// The engine: compiles expressions to kernels and keeps them.
#pragma once

#include <functional>
#include <initializer_list>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "einjit/dynamic.hpp"
#include "einjit/kernel.hpp"
#include "einjit/path.hpp"
#include "einjit/target.hpp"

namespace einjit {

// Whether a kernel takes alpha and beta at run time.
enum class Scaling : std::uint8_t { none, alpha_beta };

// Whether sizes are baked into code (fastest for small kernels) or handed to shared units at each
// call (no compilation for a new shape of a known kind).
enum class Specialization : std::uint8_t { automatic, always, never };

struct CompileOptions {
  Scaling scaling = Scaling::none;
  Specialization specialization = Specialization::automatic;
  // The output's layout; row-major if absent. Its extents must be the expression's.
  std::optional<Layout> output = {};
  Path path = Path::automatic;
  // A schedule in place of the chosen one, as text (see `einjit explain --emit=schedule`), of the
  // one loop nest that the whole expression is then.
  std::string schedule = {};
};

// The ways an expression looks on its way to machine code, in order.
enum class Stage : std::uint8_t { expression, index, schedule, loops, llvm, assembly };
inline constexpr const char* kStageNames[] = {"expression", "index", "schedule",
                                              "loops",      "llvm",  "asm"};
std::optional<Stage> stage_named(std::string_view name);

struct EngineOptions {
  std::size_t most_kernels = 4096;  // beyond that the least recently used are dropped
  // Where compiled code is kept for other processes; "" for nowhere. By default EINJIT_CACHE_DIR,
  // else $XDG_CACHE_HOME/einjit, else ~/.cache/einjit, unless EINJIT_CACHE is "off".
  std::optional<std::string> cache_directory = {};
};

struct EngineStatistics {
  std::int64_t kernels = 0;  // in the cache now
  std::int64_t hits = 0;
  std::int64_t misses = 0;  // each of them planned once
  std::int64_t evictions = 0;
  std::int64_t units_compiled = 0;  // code units that went through LLVM
  std::int64_t units_prebuilt = 0;  // code units that came with the program
  std::int64_t units_loaded = 0;    // code units that were on disk
  std::int64_t units_shared = 0;    // code units that were there already
  std::int64_t code_bytes = 0;
  double plan_seconds = 0;     // binding, scheduling, lowering, planning
  double compile_seconds = 0;  // LLVM
};

// What one compilation did and how long it took.
struct CompileReport {
  std::vector<std::pair<std::string, double>> seconds;  // per stage, in order
  bool was_cached = false;
  double predicted_seconds = 0;
};

// How far tuning goes.
struct TuneOptions {
  int candidates = 12;    // schedules tried for each step, the model's best
  int rounds = 3;         // medians of so many, interleaved
  double seconds = 0.01;  // the least time of one measurement
};

// What tuning tried, in the order the model had them.
struct TuneReport {
  struct Trial {
    int step;
    std::string schedule;
    double predicted_seconds, seconds;
    bool won = false;
  };
  std::vector<Trial> trials;
};

class Engine {
 public:
  explicit Engine(const Target& target = Target::host(), const EngineOptions& options = {});
  ~Engine();
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  // The process's own engine, made at first use.
  static Engine& standard();

  // Compiles, or finds, the kernel for an expression over operands of these layouts. Errors: what
  // parsing and binding report. Equal contractions share one kernel, whatever their labels' names.
  Result<Kernel> try_compile(std::string_view expression, std::span<const Layout> inputs,
                             const CompileOptions& options = {}, CompileReport* report = nullptr);
  // The same with labels as integers; there is no limit to their number.
  Result<Kernel> try_compile(std::span<const std::vector<int>> inputs,
                             const std::vector<int>& output, std::span<const Layout> layouts,
                             const CompileOptions& options = {});

  Kernel compile(std::string_view expression, std::span<const Layout> inputs,
                 const CompileOptions& options = {}) {
    return value_or_throw(try_compile(expression, inputs, options));
  }

  // A kernel for any extent of these labels, given by name. The layouts are those to be fastest
  // for: extents of a typical call, at least 2 where they are dynamic.
  Result<DynamicKernel> try_compile_dynamic(std::string_view expression,
                                            std::span<const std::string> dynamic_labels,
                                            std::span<const Layout> inputs,
                                            const CompileOptions& options = {});
  DynamicKernel compile_dynamic(std::string_view expression,
                                const std::vector<std::string>& dynamic_labels,
                                std::span<const Layout> inputs,
                                const CompileOptions& options = {}) {
    return value_or_throw(try_compile_dynamic(expression, dynamic_labels, inputs, options));
  }

  // Compiles the model's best few schedules, measures each on buffers of its own with the default
  // executor, and keeps the fastest in the cache in place of the model's choice, until it is
  // evicted. Other schedules add in another order: the bits of the result may change.
  Result<Kernel> try_tune(std::string_view expression, std::span<const Layout> inputs,
                          const CompileOptions& options = {}, const TuneOptions& limits = {},
                          TuneReport* report = nullptr);

  // One-shot: out = expression(inputs...), through the cache. The first call runs on units that are
  // there, if they are; when calls have taken as long as compiling, the kernel is specialised in
  // the background, with the same bits. Throws Error.
  template <MdspanLike Out, MdspanLike... In>
  void contract(std::string_view expression, const Out& out, const In&... in) {
    CallKey key(expression);
    static_assert(!std::is_const_v<std::remove_reference_t<decltype(*out.data_handle())>>,
                  "the output must be writable");
    (key.add(out), ..., key.add(in));
    void* const operands[] = {const_cast<ElementOf<Out>*>(out.data_handle()),
                              const_cast<ElementOf<In>*>(in.data_handle())...};
    const Kernel kernel = find(key);
    if (kernel.run(operands) != Status::ok)
      throw Error({"no memory for the kernel's scratch", std::string(expression)});
  }

  // The result's layout (row-major) without compiling.
  Result<Layout> try_result_layout(std::string_view expression,
                                   std::span<const Layout> inputs) const;

  // How the expression looks at a stage.
  Result<std::string> try_explain(std::string_view expression, std::span<const Layout> inputs,
                                  Stage stage, const CompileOptions& options = {}) const;

  const Target& target() const;
  EngineStatistics statistics() const;
  // Until what one-shot calls have asked for in the background is done.
  void wait_for_specialization();
  // Forgets all kernels; those in use live on with their users.
  void clear_cache();

 private:
  // Text and layouts of a call, in a buffer of this thread: the first look-up needs no parsing.
  class CallKey {
   public:
    explicit CallKey(std::string_view expression);
    template <MdspanLike V>
    void add(const V& view) {
      add_number(static_cast<std::int64_t>(dtype_of<ElementOf<V>>) << 32 |
                 static_cast<std::int64_t>(view.rank()));
      for (std::size_t r = 0; r < view.rank(); ++r) {
        add_number(static_cast<std::int64_t>(view.extent(r)));
        add_number(static_cast<std::int64_t>(view.stride(r)));
      }
    }
    std::string_view bytes() const { return buffer_; }
    std::size_t text_size() const { return text_size_; }

   private:
    void add_number(std::int64_t number) {
      buffer_.append(reinterpret_cast<const char*>(&number), sizeof number);
    }
    std::string& buffer_;
    std::size_t text_size_;  // the expression comes first, then its size, then the layouts
  };
  Kernel find(const CallKey& key);

  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace einjit
