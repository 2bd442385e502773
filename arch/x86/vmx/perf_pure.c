// SPDX-License-Identifier: GPL-2.0
/*
 * The host's performance monitoring around VM entries: see perf_pure.h.
 */
#include "perf_pure.h"

#define PERF_GLOBAL_CTRL	0x38f
#define PEBS_ENABLE		0x3f1

bool vmx_perf_plan(struct vmx_perf_plan *p, const struct vmx_perf_msr *msrs, unsigned int nr,
		   bool has_global)
{
	unsigned int i;
	bool fits = true;

	p->global = p->pebs_off = false;
	p->nr = 0;
	for (i = 0; i < nr; i++) {
		const struct vmx_perf_msr *m = &msrs[i];

		if (m->host == m->guest)
			continue;
		if (m->msr == PEBS_ENABLE && !m->guest)
			p->pebs_off = true;
		if (m->msr == PERF_GLOBAL_CTRL && has_global) {
			p->global = true;
			p->global_host = m->host;
			p->global_guest = m->guest;
		} else if (p->nr < VMX_PERF_MAX) {
			p->list[p->nr++] = *m;
		} else {
			fits = false;
		}
	}
	return fits;
}
