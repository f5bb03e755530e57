# Makes a file that a source includes as a string, with the revision of the sources: "1234abc-dirty". Records name the
# revision, and commits come after a build is configured, so git is asked at each build. The file is written only if the
# revision is another one; otherwise nothing is compiled anew. Without git or a repository the string is empty.
#   moehill_revision(moehill_quiet ${generated}/revision.inc)        for a source of moehill_quiet
#   cmake -D SOURCE=FOLDER -D OUTPUT=FILE -P cmake/revision.cmake    what each build runs
if(CMAKE_SCRIPT_MODE_FILE)
  # The build may run beside a commit, so git takes no lock.
  execute_process(COMMAND git --no-optional-locks describe --always --dirty WORKING_DIRECTORY ${SOURCE}
                  OUTPUT_VARIABLE revision OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
  set(text "\"${revision}\"\n")
  set(before "")
  if(EXISTS ${OUTPUT})
    file(READ ${OUTPUT} before)
  endif()
  if(NOT text STREQUAL before)
    file(WRITE ${OUTPUT} "${text}")
  endif()
  return()
endif()

function(moehill_revision target file)
  add_custom_target(${target}_revision
                    COMMAND ${CMAKE_COMMAND} -D SOURCE=${CMAKE_SOURCE_DIR} -D OUTPUT=${file} -P ${CMAKE_CURRENT_FUNCTION_LIST_FILE}
                    BYPRODUCTS ${file} COMMENT "Revision of the sources" VERBATIM)
  add_dependencies(${target} ${target}_revision)
endfunction()
