# einjit_add_kernel(TARGET NAME name EXPRESSION 'ij,jk->ik' SHAPE 64x128,128x32
#                   [DTYPE f32|f64] [ISA native|x86-64-v2|x86-64-v3|x86-64-v4|aarch64] [SCALED])
#
# Compiles an expression when TARGET is built and links it in: `#include "name.h"` declares the
# function `name`. The program needs neither einjit nor LLVM. The default ISA is this machine's.
function(einjit_add_kernel target)
  cmake_parse_arguments(PARSE_ARGV 1 KERNEL "SCALED" "NAME;EXPRESSION;SHAPE;DTYPE;ISA" "")
  foreach(needed NAME EXPRESSION SHAPE)
    if(NOT DEFINED KERNEL_${needed})
      message(FATAL_ERROR "einjit_add_kernel: ${needed} is missing")
    endif()
  endforeach()
  if(KERNEL_UNPARSED_ARGUMENTS)
    message(FATAL_ERROR "einjit_add_kernel: unknown arguments: ${KERNEL_UNPARSED_ARGUMENTS}")
  endif()
  set(flags --shape "${KERNEL_SHAPE}" --name "${KERNEL_NAME}")
  if(KERNEL_DTYPE)
    list(APPEND flags --dtype "${KERNEL_DTYPE}")
  endif()
  if(KERNEL_ISA)
    list(APPEND flags --target "${KERNEL_ISA}")
  endif()
  if(KERNEL_SCALED)
    list(APPEND flags --scaled)
  endif()
  set(directory "${CMAKE_CURRENT_BINARY_DIR}/einjit-kernels")
  set(object "${directory}/${KERNEL_NAME}.o")
  set(header "${directory}/${KERNEL_NAME}.h")
  file(MAKE_DIRECTORY "${directory}")
  add_custom_command(OUTPUT "${object}" "${header}"
    COMMAND einjit::einjit_program compile "${KERNEL_EXPRESSION}" ${flags} -o "${object}"
            --header "${header}"
    DEPENDS einjit::einjit_program COMMENT "einjit ${KERNEL_EXPRESSION}" VERBATIM)
  set_source_files_properties("${object}" PROPERTIES EXTERNAL_OBJECT TRUE GENERATED TRUE)
  target_sources(${target} PRIVATE "${object}" "${header}")
  target_include_directories(${target} PRIVATE "${directory}")
  target_link_libraries(${target} PRIVATE m)  # fma, where the ISA has no such instruction
endfunction()
