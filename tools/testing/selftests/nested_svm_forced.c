// SPDX-License-Identifier: GPL-2.0
/*
 * What: as force_suite, the selftests whose guests are hypervisors: L2's exceptions exit to L0,
 * which asks L1's intercepts first.
 * Conditions: strata, guests are offered SVM, and the programs in this one's directory.
 * Expected: the same points with the same verdicts.
 */
#include "force.h"
#include "svm.h"

#define SAME(program)						\
	TEST_TIMEOUT(program, 120)				\
	{							\
		need_svm();					\
		same_with_all_forced(#program);			\
	}

SAME(nested_svm_basic)
SAME(nested_svm_events)
SAME(nested_svm_intr)
SAME(nested_svm_latched)
SAME(nested_svm_state)
SAME(nested_svm_smm)
SAME(nested_svm_assists)
SAME(nested_svm_checks)
SAME(nested_svm_features)
SAME(nested_svm_fixed)
SAME(nested_svm_npt)
SAME(nested_svm_npt_emul)
SAME(nested_svm_vgif)
SAME(nested_svm_kept)
SAME(nested_svm_kept_entry)
