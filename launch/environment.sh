# Sourced by scripts that start programs: mpirun as root and with more ranks than cores, and cores
# shared out between the ranks. Values that the caller has set stay.
# shellcheck shell=bash
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
# Open MPI 4 and 5: more ranks than cores, which yield while they wait, and no pinning.
export OMPI_MCA_rmaps_base_oversubscribe=${OMPI_MCA_rmaps_base_oversubscribe:-1}
mapping=${PRTE_MCA_rmaps_default_mapping_policy:-:oversubscribe}
export PRTE_MCA_rmaps_default_mapping_policy=$mapping
export OMPI_MCA_hwloc_base_binding_policy=${OMPI_MCA_hwloc_base_binding_policy:-none}
export PRTE_MCA_hwloc_default_binding_policy=${PRTE_MCA_hwloc_default_binding_policy:-none}
export OMPI_MCA_mpi_yield_when_idle=${OMPI_MCA_mpi_yield_when_idle:-1}

# nproc itself answers OMP_NUM_THREADS where that is set.
num_cores() { env -u OMP_NUM_THREADS -u OMP_THREAD_LIMIT nproc; }

threads_for_ranks() {  # threads_for_ranks N -> cores a rank, at least 1
  local cores
  cores=$(num_cores)
  echo $((cores > $1 ? cores / $1 : 1))
}

build_jobs() {  # compilers at once: one a core, and 1.5 GB for each
  local by_memory cores
  cores=$(num_cores)
  by_memory=$(awk '/^MemAvailable/ {print int($2 / 1500000)}' /proc/meminfo)
  echo $((by_memory < 1 ? 1 : by_memory < cores ? by_memory : cores))
}
