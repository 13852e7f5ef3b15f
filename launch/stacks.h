// Where every thread of this process is, on stderr: for the report of a stuck rank.
#pragma once

namespace zoetrope::launch {

// Call once, before there is anything to report: loads what a stack walk needs.
void prepare_stacks();
// One thread after another, this one last; a thread that does not answer in 0.2 s is left out.
void print_stacks();

}  // namespace zoetrope::launch
