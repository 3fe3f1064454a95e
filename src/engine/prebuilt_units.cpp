#include "engine/prebuilt_units.hpp"

#include "load/unit_library.hpp"

// The generator's files, in the program's own sections: code among code, the index among constants.
#define EINJIT_INCLUDE(section, flags, symbol, file)                                       \
  asm(".pushsection " section "," flags "\n.balign 64\n.globl " symbol "\n.hidden " symbol \
      "\n" symbol ":\n.incbin \"" file "\"\n.globl " symbol "_end\n.hidden " symbol        \
      "_end\n" symbol "_end:\n.byte 0\n.popsection\n")

#if defined(__x86_64__)
EINJIT_INCLUDE(".text.einjit_units", "\"ax\",@progbits", "einjit_code_v3",
               EINJIT_UNITS "x86-64-v3.code");
EINJIT_INCLUDE(".rodata.einjit_units", "\"a\",@progbits", "einjit_index_v3",
               EINJIT_UNITS "x86-64-v3.index");
EINJIT_INCLUDE(".text.einjit_units", "\"ax\",@progbits", "einjit_code_v4",
               EINJIT_UNITS "x86-64-v4.code");
EINJIT_INCLUDE(".rodata.einjit_units", "\"a\",@progbits", "einjit_index_v4",
               EINJIT_UNITS "x86-64-v4.index");

extern "C" {
extern const char einjit_code_v3[], einjit_index_v3[], einjit_index_v3_end[];
extern const char einjit_code_v4[], einjit_index_v4[], einjit_index_v4_end[];
}
#endif

namespace einjit {

PrebuiltUnits prebuilt_units(const Target& target) {
#if defined(__x86_64__)
  const std::string identity = unit_identity(target);
  if (target.isa == Isa::x86_64_v4)
    return {{einjit_index_v4, einjit_index_v4_end}, einjit_code_v4, identity};
  if (target.isa == Isa::x86_64_v3)
    return {{einjit_index_v3, einjit_index_v3_end}, einjit_code_v3, identity};
#endif
  return {};
}

}  // namespace einjit
