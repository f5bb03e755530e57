# Builds the library that others link (libmoehill.so and libmoehill.a of the same objects), and says what
# `cmake --install` puts where. Installed files find each other by relative paths, so the tree may be moved.

set(objects "")
foreach(room ${MOEHILL_LIBRARY_ROOMS})
  list(APPEND objects $<TARGET_OBJECTS:moehill_${room}>)
endforeach()
set(needs Threads::Threads fmt::fmt tomlplusplus::tomlplusplus OpenMP::OpenMP_CXX ${CMAKE_DL_LIBS}
    PkgConfig::HWY PkgConfig::HWLOC PkgConfig::XXHASH)
if(MOEHILL_MPI)
  list(APPEND needs MPI::MPI_C)
endif()

add_library(moehill_static STATIC ${objects})
set_target_properties(moehill_static PROPERTIES OUTPUT_NAME moehill LINKER_LANGUAGE CXX)
target_link_libraries(moehill_static INTERFACE ${needs})
target_include_directories(moehill_static INTERFACE ${CMAKE_SOURCE_DIR}/include)
set(libraries moehill_static)
if(MOEHILL_SHARED)
  add_library(moehill_shared SHARED ${objects})
  set_target_properties(moehill_shared PROPERTIES OUTPUT_NAME moehill LINKER_LANGUAGE CXX
                        VERSION ${PROJECT_VERSION} SOVERSION ${PROJECT_VERSION_MAJOR}
                        INSTALL_RPATH_USE_LINK_PATH ON)
  target_link_libraries(moehill_shared PRIVATE ${needs} moehill_flags)
  target_include_directories(moehill_shared INTERFACE ${CMAKE_SOURCE_DIR}/include)
  # Names of the standard library's templates stay inside the library, too.
  target_link_options(moehill_shared PRIVATE LINKER:--version-script=${CMAKE_SOURCE_DIR}/cmake/exports.map LINKER:--no-undefined)
  set_target_properties(moehill_shared PROPERTIES LINK_DEPENDS ${CMAKE_SOURCE_DIR}/cmake/exports.map)
  list(APPEND libraries moehill_shared)
endif()
set(programs moehill)
if(TARGET moehill-mpich)
  list(APPEND programs moehill-mpich)
endif()
# The simulator is in a folder of its own, since it is for these programs alone.
set_target_properties(${programs} PROPERTIES INSTALL_RPATH_USE_LINK_PATH ON INSTALL_RPATH $ORIGIN/../${CMAKE_INSTALL_LIBDIR}/moehill)

# There are two components: `program`, and `library` with everything that somebody else's program needs.
install(TARGETS ${programs} COMPONENT program)
if(TARGET moehill_simgrid)
  install(TARGETS moehill_simgrid DESTINATION ${CMAKE_INSTALL_LIBDIR}/moehill COMPONENT program)
endif()
install(TARGETS ${libraries} COMPONENT library)
install(DIRECTORY include/moehill TYPE INCLUDE COMPONENT library)
install(DIRECTORY hardware/ DESTINATION ${CMAKE_INSTALL_DATADIR}/moehill/hardware COMPONENT program
        FILES_MATCHING PATTERN *.toml)
install(DIRECTORY examples/ DESTINATION ${CMAKE_INSTALL_DATADIR}/moehill/examples COMPONENT library)
install(DIRECTORY python/moehill DESTINATION ${CMAKE_INSTALL_DATADIR}/moehill/python COMPONENT library
        PATTERN __pycache__ EXCLUDE)
install(FILES docs/library.md README.md TYPE DOC COMPONENT library)

# The file for find_package(moehill COMPONENTS shared static mpi) is written by hand, since static programs need
# libraries that have no packages of CMake.
set(MOEHILL_STATIC_LIBRARIES fmt tomlplusplus hwy hwloc xxhash gomp pthread)
if(MOEHILL_MPI)
  list(APPEND MOEHILL_STATIC_LIBRARIES ${MPI_C_LIBRARIES})
endif()
set(MOEHILL_TO_PREFIX "")  # from the folder of the package's files
file(RELATIVE_PATH MOEHILL_TO_PREFIX /${CMAKE_INSTALL_LIBDIR}/cmake/moehill /)
include(CMakePackageConfigHelpers)
configure_file(cmake/moehillConfig.cmake.in generated/moehillConfig.cmake @ONLY)
write_basic_package_version_file(generated/moehillConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_BINARY_DIR}/generated/moehillConfig.cmake ${CMAKE_BINARY_DIR}/generated/moehillConfigVersion.cmake
        DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/moehill COMPONENT library)
file(RELATIVE_PATH MOEHILL_PC_TO_PREFIX /${CMAKE_INSTALL_LIBDIR}/pkgconfig /)
list(TRANSFORM MOEHILL_STATIC_LIBRARIES REPLACE "^([^/].*)$" "-l\\1" OUTPUT_VARIABLE flags)
list(JOIN flags " " MOEHILL_PC_STATIC)
configure_file(cmake/moehill.pc.in generated/moehill.pc @ONLY)
install(FILES ${CMAKE_BINARY_DIR}/generated/moehill.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig COMPONENT library)

# The manual and the shell's completion are made from the program's --help.
set(manual ${CMAKE_BINARY_DIR}/manual)
add_custom_command(OUTPUT ${manual}/moehill.1.gz ${manual}/moehill.bash
                   COMMAND ${CMAKE_SOURCE_DIR}/tools/make_manual $<TARGET_FILE:moehill> ${manual}
                   DEPENDS moehill ${CMAKE_SOURCE_DIR}/tools/make_manual VERBATIM)
add_custom_target(manual ALL DEPENDS ${manual}/moehill.1.gz ${manual}/moehill.bash)
install(FILES ${manual}/moehill.1.gz DESTINATION ${CMAKE_INSTALL_MANDIR}/man1 COMPONENT program)
install(FILES ${manual}/moehill.bash DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions COMPONENT program
        RENAME moehill)

# `cpack -G DEB` in the build folder makes the Debian package.
set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME moehill)
set(CPACK_PACKAGE_VENDOR moehill)
set(CPACK_PACKAGE_CONTACT "moehill maintainers <maintainers@users.noreply.r-seed-bdfc9da0.example>")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "Mixture-of-Experts blocks under expert parallelism on CPUs: library and harness")
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SECTION science)
set(CPACK_DEBIAN_PACKAGE_DESCRIPTION
    "A library for programs in C++, C, Python and PyTorch that run the experts of a model, forward and backward,
on threads or on the processes of an MPI job; and the program moehill, which checks, measures and predicts such
blocks.")
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_GENERATE_SHLIBS ON)
# shlibdeps does not see this library, because it is loaded at run time.
set(CPACK_DEBIAN_PACKAGE_DEPENDS libopenblas0-openmp)
set(CPACK_DEBIAN_PACKAGE_SUGGESTS "python3-numpy, python3-mpi4py, libopenmpi-dev")
set(CPACK_STRIP_FILES ON)
include(CPack)
