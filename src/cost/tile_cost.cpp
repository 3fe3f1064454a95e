#include "cost/tile_cost.hpp"

#include <algorithm>
#include <bit>
#include <cmath>

namespace einjit {
namespace {

// In cycles; fitted to what the emitted code does on AVX-512 machines.
constexpr double kScalarLoad = 0.5;
constexpr double kGatherPerLane = 2.0;
constexpr double kScatterPerLane = 5;
constexpr double kStoreTransposed = 1.2;  // against transposing loads: lines are written in pieces
constexpr double kStoreAdded = 1.5;       // to what was there
constexpr double kLatencySlack = 1.5;  // accumulators beyond the latency, for loads that come late
constexpr double kInFlight = 128;      // multiply-adds that a core looks ahead
constexpr double kLoopOverhead = 1.0;  // of one trip round the innermost loop
constexpr double kTileOverhead = 6.0;  // pointers, first loads, loop entry
constexpr double kSplitLines = 1.5;
constexpr double kPartOfLine = 0.4;     // exponent, of the parts a line is read in
constexpr double kJoin = 1.0;           // a shuffle for each vector that is put behind another
constexpr double kSplitStores = 5.0;    // of vectors that lie across lines
constexpr double kRowOverhead = 5.0;    // of a row of the sum, if there are several
constexpr double kRowStart = 1.5;       // of a row read once, by every tile that goes across it
constexpr double kPackPerVector = 5.0;  // load, store and their misses, contiguous
constexpr double kTails =
    0.004;  // for each kind of tail a loop leaves: more code, cold when it runs
constexpr double kPackOverhead = 1500;  // scratch, its first touch, a plan to walk
constexpr double kLoadTie = 0.1;        // of a load that hides behind FMAs: fewer are better
constexpr double kLoadsKept = 0.8;      // of the peak rate of loads, what a tile of FMAs sustains

// Of an empty sum one step is counted: its stores remain.
double extent(const Contraction& c, Label l) {
  return l < 0 ? 1 : std::max(1.0, static_cast<double>(c.extents[l]));
}

// The reduced label the tile's innermost loop runs over.
Label innermost(const Contraction& c, const RegisterTile& tile) {
  if (tile.inner >= 0) return tile.inner;
  for (Label l = c.label_count() - 1; l >= 0; --l)
    if (c.is_reduced(l) && l != tile.vec) return l;
  return -1;
}

struct TileCost {
  const Contraction& c;
  const Target& target;
  const RegisterTile& tile;
  double lanes = target.lanes(c.dtype);
  double shuffles = std::bit_width(static_cast<unsigned>(lanes)) - 1;  // of a transpose, per vector

  bool vec_is_reduced() const { return tile.vec >= 0 && c.is_reduced(tile.vec); }
  bool moves(const Access& a, Label l) const { return l >= 0 && a.strides[l] != 0; }
  bool is_packed(std::size_t k) const { return tile.packed >> k & 1; }
  Label innermost() const { return einjit::innermost(c, tile); }

  // Vectors of a whole tile along the vec label, on average over its tails.
  double vectors() const {
    if (tile.vec < 0) return 1;
    const auto length = static_cast<double>(tile.vec_length);
    const double whole = std::floor(extent(c, tile.vec) / length);
    const double rest = extent(c, tile.vec) - whole * length;
    return (whole * vectors_of(length) + vectors_of(rest)) / std::ceil(whole + rest / length);
  }
  // A last piece is as wide as the next power of two, and no cheaper than the datapath is wide.
  double vectors_of(double length) const {
    const double whole = std::floor(length / lanes), rest = length - whole * lanes;
    if (rest == 0) return whole;
    const auto width = static_cast<double>(bit_ceil(static_cast<std::int64_t>(rest)));
    const double least = target.datapath_bytes == 0
                             ? 1.0
                             : static_cast<double>(target.datapath_bytes) / target.vector_bytes;
    return whole + std::max(width / lanes, least);
  }
  static double average(double extent, std::int64_t length) {
    return extent / std::ceil(extent / static_cast<double>(length));
  }
  double unroll() const { return average(extent(c, tile.unroll), tile.unroll_length); }
  double unroll2() const { return average(extent(c, tile.unroll2), tile.unroll2_length); }

  // Whether strided vectors can come from transposed blocks.
  bool is_transposable(const Access& a) const {
    auto fits = [&](Label l, std::int64_t length) {
      return l >= 0 && a.strides[l] == 1 && static_cast<double>(length) * 4 >= lanes;
    };
    return fits(tile.unroll, tile.unroll_length) || fits(tile.unroll2, tile.unroll2_length) ||
           fits(innermost(), tile.steps);
  }

  // Values of each position of a short label, unrolled or summed at once, that lie in turn are
  // taken apart, or put together, with a shuffle for each but one.
  double turn_shuffles(const Access& a) const {
    for (auto [label, length] :
         {std::pair{tile.unroll, tile.unroll_length}, {innermost(), tile.steps}})
      if (label >= 0 && length == c.extents[label] && is_interleaved(c, a, tile.vec, label))
        return extent(c, label) - 1;
    return 0;
  }

  // Elements a transposed block has along the label in which the array is contiguous.
  std::int64_t block_length(const Access& a) const {
    const bool by_unroll = tile.unroll >= 0 && a.strides[tile.unroll] == 1;
    return by_unroll ? tile.unroll_length : tile.steps;
  }

  // Blocks that are not full are stored at the cost of full ones, across lines if they do not end
  // on one.
  double store_waste(const Access& a) const {
    const auto length = static_cast<double>(block_length(a));
    const double split = std::fmod(length, lanes) != 0 ? kSplitLines : 1;
    return std::ceil(length / lanes) * lanes / length * split;
  }

  // Blocks are loaded in parts of a power of two: shorter ones come to a line more often, those
  // that do not lie within one come to two, which matters beyond L2.
  double load_waste(const Access& a) const {
    const std::int64_t length = block_length(a);
    const std::int64_t block = std::min(static_cast<std::int64_t>(lanes), bit_ceil(length));
    const auto blocks = static_cast<double>((length + block - 1) / block * block);
    const bool are_rows_even = std::ranges::all_of(a.strides, [&](std::int64_t stride) {
      return std::abs(stride) <= 1 || stride % block == 0;
    });
    const bool is_within = length % block == 0 &&
                           (are_rows_even || byte_count(c) <= static_cast<double>(target.l2_bytes));
    return blocks / static_cast<double>(length) * (is_within ? 1 : kSplitLines) *
           std::pow(lanes / static_cast<double>(block), kPartOfLine);
  }
  static std::int64_t bit_ceil(std::int64_t length) {
    return static_cast<std::int64_t>(std::bit_ceil(static_cast<std::uint64_t>(length)));
  }

  // Loading one vector of an operand that moves along the vec label.
  double vector_load(const Access& a, bool packed) const {
    const double load = 1 / target.loads_per_cycle;
    if (packed || a.strides[tile.vec] == 1) return load;
    if (const double shuffled = turn_shuffles(a); shuffled > 0) return load + shuffled;
    if (is_transposable(a)) return load;
    return lanes * kGatherPerLane;
  }

  // Shuffles of one step, on units that multiply too.
  double step_shuffles() const {
    double cycles = 0;
    for (std::size_t k = 0; k < c.in.size(); ++k) {
      const Access& a = c.in[k];
      if (!moves(a, tile.vec) || is_packed(k) || a.strides[tile.vec] == 1 || !is_transposable(a) ||
          turn_shuffles(a) > 0)
        continue;
      cycles += count(a) * vectors() * shuffles * load_waste(a);
    }
    return cycles;
  }

  // Values of an operand a step needs, of one vector each.
  double count(const Access& a) const {
    double unrolled = moves(a, tile.unroll) ? unroll() : 1;
    const auto steps = static_cast<double>(tile.steps);
    if (is_window(a, tile.unroll, innermost())) unrolled = (unrolled + steps - 1) / steps;
    return unrolled * (moves(a, tile.unroll2) ? unroll2() : 1);
  }

  // Loads of one step, given the number of steps hoisted ones are spread over.
  double step_loads(double steps) const {
    double cycles = 0;
    for (std::size_t k = 0; k < c.in.size(); ++k) {
      const Access& a = c.in[k];
      double loads = count(a);
      loads *= moves(a, tile.vec) ? vectors() * vector_load(a, is_packed(k)) : kScalarLoad;
      bool is_hoisted = true;
      for (Label l = 0; l < c.label_count(); ++l) is_hoisted &= !c.is_reduced(l) || !moves(a, l);
      cycles += is_hoisted ? loads / steps : loads;
    }
    return cycles;
  }

  // What is read once comes from afar: the fewer vectors of each row, the less of it is on its way.
  double step_rows() const {
    double rows = 0;
    for (std::size_t k = 0; k < c.in.size(); ++k) {
      const Access& a = c.in[k];
      if (!moves(a, tile.vec) || a.strides[tile.vec] != 1 || is_packed(k) || vec_is_reduced())
        continue;
      if (element_count(c, a) * 2 > c.point_count()) rows += count(a);
    }
    return rows * kRowStart;
  }

  double stores() const {
    const double each = unroll() * unroll2();
    double value;
    if (vec_is_reduced())
      value = each * (2 * shuffles + 2);
    else if (tile.vec < 0)
      value = each;
    else if (is_joined())
      value = each * vectors() * kJoin + joined_stores(each);
    else if (c.out.strides[tile.vec] == 1)
      value = each * vectors() / target.loads_per_cycle;
    else if (const double shuffled = turn_shuffles(c.out); shuffled > 0)
      value = each * vectors() * (1 / target.loads_per_cycle + shuffled);
    else if (is_transposable(c.out))
      value = each * vectors() * (1 + kStoreTransposed * shuffles * store_waste(c.out));
    else
      value = each * vectors() * lanes * kScatterPerLane;
    return c.beta == Beta::zero ? value : kStoreAdded * value;
  }

  // Whether runs of the vec label that are not whole vectors are written as one.
  bool is_joined() const {
    const std::int64_t run = c.extents[tile.vec];
    if (tile.vec_length < run || run % target.lanes(c.dtype) == 0) return false;
    return (tile.unroll >= 0 && is_written_joined(c, tile.vec, tile.unroll)) ||
           (tile.unroll2 >= 0 && is_written_joined(c, tile.vec, tile.unroll2));
  }
  double joined_stores(double each) const {
    const double full = each * extent(c, tile.vec) / lanes;
    return std::ceil(full) * (std::floor(full) == full ? 1 : kSplitStores) / target.loads_per_cycle;
  }

  double packing() const {
    double cycles = 0;
    for (std::size_t k = 0; k < c.in.size(); ++k)
      if (is_packed(k))
        cycles += kPackOverhead + position_count(c, c.in[k]) / lanes *
                                      (moves(c.in[k], tile.vec) && c.in[k].strides[tile.vec] == 1
                                           ? kPackPerVector
                                           : kPackPerVector + 1.5 * shuffles);
    return cycles;
  }

  // With and without tails along each label.
  double kinds_of_tiles() const {
    double kinds = 1;
    for (auto [label, length] : {std::pair{tile.vec, tile.vec_length},
                                 {tile.unroll, tile.unroll_length},
                                 {tile.unroll2, tile.unroll2_length}})
      if (label >= 0 && c.extents[label] > length && c.extents[label] % length != 0) kinds *= 2;
    return kinds;
  }

  // Along a vec label that is summed, each row of the sum begins anew, and lanes beyond its end are
  // kept out of the last piece's sums.
  double rows_of_sum(double sums) const {
    if (!vec_is_reduced()) return 0;
    double rows = 1;
    for (Label l = 0; l < c.label_count(); ++l)
      if (c.is_reduced(l) && l != tile.vec) rows *= extent(c, l);
    const bool has_rest = std::fmod(extent(c, tile.vec), lanes) != 0;
    return rows * ((rows > 1 ? kRowOverhead : 0) + (has_rest ? sums / vectors() : 0));
  }

  double tiles() const {
    double count = 1 / (unroll() * unroll2());
    for (Label l = 0; l < c.label_count(); ++l)
      if (!c.is_reduced(l)) count *= l == tile.vec ? pieces() : extent(c, l);
    return count;
  }
  double steps() const {
    double count = 1;
    for (Label l = 0; l < c.label_count(); ++l)
      if (c.is_reduced(l)) count *= l == tile.vec ? pieces() : extent(c, l);
    return count;
  }
  // Of the vec label.
  double pieces() const {
    return std::ceil(extent(c, tile.vec) / static_cast<double>(tile.vec_length));
  }

  double run() const {
    const double steps = this->steps();
    const double sums = unroll() * unroll2() * vectors();
    bool any_reduced = vec_is_reduced() || innermost() >= 0;
    const double operations = sums * std::max<double>(1, static_cast<double>(c.in.size()) - 1);
    const double loads = step_loads(steps);
    double step =
        std::max(operations / target.fma_per_cycle, loads / kLoadsKept) + kLoadTie * loads;
    step += step_shuffles() + step_rows();
    if (any_reduced) {
      // Short sums along the lanes overlap with the next tile's.
      const double waits =
          vec_is_reduced() ? std::min(1.0, steps * operations / kInFlight) : 1.0 / tile.chains;
      step = std::max(step, kLatencySlack * target.fma_latency * waits);
      if (extent(c, innermost()) > static_cast<double>(tile.steps) || vec_is_reduced())
        step += kLoopOverhead / static_cast<double>(tile.steps);
    }
    const double merges = (tile.chains - 1) * sums / target.fma_per_cycle;
    return (tiles() * (steps * step + rows_of_sum(sums) + merges + stores() + kTileOverhead) +
            packing()) *
           (1 + kTails * (kinds_of_tiles() - 1));
  }
};

}  // namespace

double tile_cycles(const Contraction& c, const Target& target, const RegisterTile& tile) {
  return TileCost{c, target, tile}.run();
}

double store_cycles(const Contraction& c, const Target& target, const RegisterTile& tile) {
  const TileCost cost{c, target, tile};
  return cost.tiles() * cost.stores() * (c.beta == Beta::zero ? kStoreAdded : 1);
}

bool is_window(const Access& access, Label unroll, Label inner) {
  return unroll >= 0 && inner >= 0 && access.strides[unroll] != 0 &&
         access.strides[unroll] == access.strides[inner];
}

int registers_used(const Contraction& c, const Target& target, const RegisterTile& tile) {
  const auto lanes = target.lanes(c.dtype);
  const auto vectors =
      (std::min(tile.vec_length, tile.vec < 0 ? 1 : c.extents[tile.vec]) + lanes - 1) / lanes;
  const auto sums = vectors * tile.unroll_length * tile.unroll2_length * tile.chains;
  const bool in_dot_form = tile.vec >= 0 && c.is_reduced(tile.vec);
  // The columns of blocks being transposed along the sum are all there at once.
  std::int64_t block = 1;
  for (std::size_t k = 0; k < c.in.size(); ++k)
    if (!in_dot_form && tile.vec >= 0 && std::abs(c.in[k].strides[tile.vec]) > 1 &&
        !(tile.packed >> k & 1))
      block = std::min<std::int64_t>(lanes, tile.steps);
  // A window's rows stay until the last step that reads them.
  const Label inner = innermost(c, tile);
  const bool has_window =
      tile.steps > 1 && std::ranges::any_of(c.in, [&](const Access& a) {
        return is_window(a, tile.unroll, inner) || is_window(a, tile.unroll2, inner);
      });
  // Without unrolled labels every vector is read once, as an operand of its FMA.
  const bool is_plain = c.in.size() == 2 && !in_dot_form && block == 1 && tile.chains == 1 &&
                        tile.unroll_length * tile.unroll2_length == 1;
  const auto held = c.in.size() < 2 ? 1
                    : is_plain      ? 2
                    : has_window    ? vectors * tile.unroll_length + 1
                    : in_dot_form
                        ? std::min(tile.unroll_length, tile.unroll2_length) + 1
                        : vectors * std::max<std::int64_t>(std::min(tile.chains, 2), block) + 1;
  return static_cast<int>(sums + held);
}

double position_count(const Contraction& c, const Access& access) {
  double count = 1;
  for (Label l = 0; l < c.label_count(); ++l)
    if (access.strides[l] != 0) count *= static_cast<double>(c.extents[l]);
  return count;
}

double element_count(const Contraction& c, const Access& access) {
  double reach = 1;
  for (Label l = 0; l < c.label_count(); ++l) {
    reach += std::abs(static_cast<double>(access.strides[l])) *
             static_cast<double>(std::max<std::int64_t>(c.extents[l] - 1, 0));
  }
  return std::min(position_count(c, access), reach);
}

double byte_count(const Contraction& c) {
  double elements = element_count(c, c.out) * (c.beta == Beta::zero ? 1 : 2);
  for (const Access& access : c.in) elements += element_count(c, access);
  return elements * static_cast<double>(size_of(c.dtype));
}

double predicted_seconds(const Contraction& c, const Target& target, double cycles) {
  const double bytes = byte_count(c);
  const double per_cycle = bytes <= static_cast<double>(target.l1_bytes)   ? 64
                           : bytes <= static_cast<double>(target.l2_bytes) ? 32
                           : bytes <= static_cast<double>(target.l3_bytes)
                               ? 12
                               : target.dram_bytes_per_cycle;
  return std::max(cycles, bytes / per_cycle) / (target.cycles_per_ns * 1e9);
}

}  // namespace einjit
