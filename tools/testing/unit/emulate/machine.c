// SPDX-License-Identifier: GPL-2.0
/*
 * The machine of machine.h.
 */
#include "machine.h"

#include <string.h>

#define VEC_UD	6
#define VEC_GP	13

void machine_add(struct machine *m, u64 base, u32 size, u8 *data)
{
	ck_assert_uint_lt(m->nr_regions, MAX_REGIONS);
	m->region[m->nr_regions++] = (struct region){ .base = base, .size = size, .data = data };
}

static struct region *find(struct machine *m, u64 linear)
{
	unsigned int i;

	for (i = 0; i < m->nr_regions; i++) {
		if (linear - m->region[i].base < m->region[i].size)
			return &m->region[i];
	}
	return NULL;
}

/* Test code's own view; regions do not join */
void *machine_at(struct machine *m, u64 linear, unsigned int len)
{
	struct region *r = find(m, linear);

	ck_assert_msg(r && linear - r->base + len <= r->size, "no memory at %llx", linear);
	return r->data + (linear - r->base);
}

/* First byte of the range that an access may not touch */
static enum emu_status check(struct emu *e, u64 linear, unsigned int len, bool write, bool fetch,
			     unsigned int flags)
{
	bool user = e->cpl == 3 && !(flags & EMU_ACC_SYSTEM);
	struct region *r;
	unsigned int i;

	for (i = 0; i < len; i++) {
		r = find(e->ctx, linear + i);
		if (!r || (write && r->read_only) || (user && r->system))
			return emu_raise_pf(e, linear + i,
					    (r ? 1 : 0) | (write ? 2 : 0) | (user ? 4 : 0) |
						    (fetch ? 16 : 0));
	}
	return EMU_OK;
}

static void copy(struct machine *m, u64 linear, u8 *buf, unsigned int len, bool write)
{
	unsigned int i;

	for (i = 0; i < len; i++) {
		struct region *r = find(m, linear + i);
		u8 *p = r->data + (linear + i - r->base);

		if (write)
			*p = buf[i];
		else
			buf[i] = *p;
	}
}

/*
 * Begin a step. Returns true if @st is the answer already: stopped, faulted, or replayed with
 * @out filled.
 * @in: what the emulator gives; @len bytes of either.
 */
static bool begin(struct emu *e, const char *op, u64 addr, unsigned int len, unsigned int flags,
		  const void *in, void *out, enum emu_status *st)
{
	struct machine *m = e->ctx;
	struct step *s;

	*st = EMU_OK;
	if (m->unlogged)
		return false;
	ck_assert_uint_lt(m->pos, MAX_STEPS);
	s = &m->step[m->pos++];
	if (m->pos <= m->nr_steps) {
		ck_assert_str_eq(s->op, op);
		ck_assert_uint_eq(s->addr, addr);
		ck_assert_uint_eq(s->len, len);
		ck_assert_uint_eq(s->flags, flags);
		if (in)
			ck_assert_mem_eq(s->data, in, len);
		if (out)
			memcpy(out, s->data, len);
		return true;
	}
	if (m->pos == m->fault_at) {
		*st = emu_raise_pf(e, addr, 0);
		return true;
	}
	if (m->pos == m->stop_at) {
		*st = EMU_IO;
		m->stop_at = 0;
		return true;
	}
	*s = (struct step){ .op = op, .addr = addr, .len = len, .flags = flags };
	if (in)
		memcpy(s->data, in, len);
	return false;
}

/* The step is done; @out is what it answered */
static enum emu_status done(struct emu *e, const void *out, unsigned int len)
{
	struct machine *m = e->ctx;

	if (m->unlogged)
		return EMU_OK;
	m->nr_steps = m->pos;
	if (out)
		memcpy(m->step[m->pos - 1].data, out, len);
	return EMU_OK;
}

static enum emu_status op_fetch(struct emu *e, u64 linear, void *buf, unsigned int len)
{
	enum emu_status st;

	if (begin(e, "fetch", linear, len, 0, NULL, buf, &st))
		return st;
	st = check(e, linear, len, false, true, 0);
	if (st)
		return st;
	copy(e->ctx, linear, buf, len, false);
	return done(e, buf, len);
}

static enum emu_status op_read(struct emu *e, u64 linear, void *buf, unsigned int len,
			       unsigned int flags)
{
	enum emu_status st;

	if (begin(e, "read", linear, len, flags, NULL, buf, &st))
		return st;
	st = check(e, linear, len, flags & EMU_ACC_WRITE, false, flags);
	if (st)
		return st;
	copy(e->ctx, linear, buf, len, false);
	return done(e, buf, len);
}

static enum emu_status op_write(struct emu *e, u64 linear, const void *buf, unsigned int len,
				unsigned int flags)
{
	enum emu_status st;

	if (begin(e, "write", linear, len, flags, buf, NULL, &st))
		return st;
	st = check(e, linear, len, true, false, flags);
	if (st)
		return st;
	copy(e->ctx, linear, (u8 *)buf, len, true);
	return done(e, NULL, 0);
}

static enum emu_status op_cmpxchg(struct emu *e, u64 linear, const void *old, const void *new,
				  unsigned int len, unsigned int flags)
{
	enum emu_status st;
	u8 now[16];

	if (begin(e, "cmpxchg", linear, len, flags, new, NULL, &st))
		return st;
	st = check(e, linear, len, true, false, flags);
	if (st)
		return st;
	copy(e->ctx, linear, now, len, false);
	if (memcmp(now, old, len))
		return EMU_RETRY;
	copy(e->ctx, linear, (u8 *)new, len, true);
	return done(e, NULL, 0);
}

static enum emu_status op_probe(struct emu *e, u64 linear, unsigned int len, unsigned int flags)
{
	enum emu_status st;

	if (begin(e, "probe", linear, len, flags, NULL, NULL, &st))
		return st;
	st = check(e, linear, len, flags & EMU_ACC_WRITE, false, flags);
	return st ? st : done(e, NULL, 0);
}

static enum emu_status op_in(struct emu *e, u16 port, unsigned int size, u32 *val)
{
	struct machine *m = e->ctx;
	enum emu_status st;

	*val = 0;
	if (begin(e, "in", port, size, 0, NULL, val, &st))
		return st;
	*val = (u32)(m->port_in & (size == 4 ? ~0u : (1u << (8 * size)) - 1));
	return done(e, val, size);
}

static enum emu_status op_out(struct emu *e, u16 port, unsigned int size, u32 val)
{
	enum emu_status st;

	if (begin(e, "out", port, size, 0, &val, NULL, &st))
		return st;
	return done(e, NULL, 0);
}

static enum emu_status op_set_cr(struct emu *e, unsigned int nr, u64 val)
{
	u64 *cr = nr == 0 ? &e->regs.cr0 :
		  nr == 3 ? &e->regs.cr3 :
		  nr == 4 ? &e->regs.cr4 :
			    &e->regs.cr8;
	enum emu_status st;

	if (!begin(e, "set_cr", nr, 8, 0, &val, NULL, &st))
		done(e, NULL, 0);
	if (!st)
		*cr = val;
	return st;
}

static enum emu_status op_get_dr(struct emu *e, unsigned int nr, u64 *val)
{
	struct machine *m = e->ctx;
	enum emu_status st;

	if (begin(e, "get_dr", nr, 8, 0, NULL, val, &st))
		return st;
	*val = m->dr[nr];
	return done(e, val, 8);
}

static enum emu_status op_set_dr(struct emu *e, unsigned int nr, u64 val)
{
	struct machine *m = e->ctx;
	enum emu_status st;

	if (begin(e, "set_dr", nr, 8, 0, &val, NULL, &st))
		return st;
	m->dr[nr] = val;
	return done(e, NULL, 0);
}

static enum emu_status op_rdmsr(struct emu *e, u32 index, u64 *val)
{
	struct machine *m = e->ctx;
	enum emu_status st;

	if (begin(e, "rdmsr", index, 8, 0, NULL, val, &st))
		return st;
	*val = m->msr[index & 3];
	return done(e, val, 8);
}

static enum emu_status op_wrmsr(struct emu *e, u32 index, u64 val)
{
	struct machine *m = e->ctx;
	enum emu_status st;

	if (begin(e, "wrmsr", index, 8, 0, &val, NULL, &st))
		return st;
	m->msr[index & 3] = val;
	return done(e, NULL, 0);
}

/* The CPU's own, so that results can be compared with it */
static enum emu_status op_cpuid(struct emu *e, u32 r[4])
{
	enum emu_status st;
	u32 in[2] = { r[0], r[2] };

	if (begin(e, "cpuid", (u64)in[0] << 32 | in[1], 16, 0, NULL, r, &st))
		return st;
	asm volatile("cpuid"
		     : "=a"(r[0]), "=b"(r[1]), "=c"(r[2]), "=d"(r[3])
		     : "a"(in[0]), "c"(in[1]));
	return done(e, r, 16);
}

static enum emu_status op_rdtsc(struct emu *e, u64 *val)
{
	enum emu_status st;

	if (begin(e, "rdtsc", 0, 8, 0, NULL, val, &st))
		return st;
	*val = 0x123456789abcdefull;
	return done(e, val, 8);
}

static enum emu_status op_rdpmc(struct emu *e, u32 index, u64 *val)
{
	enum emu_status st;

	if (begin(e, "rdpmc", index, 8, 0, NULL, val, &st))
		return st;
	*val = 0x7700000000ull + index;
	return done(e, val, 8);
}

static enum emu_status plain(struct emu *e, const char *op, u64 addr)
{
	enum emu_status st;

	return begin(e, op, addr, 0, 0, NULL, NULL, &st) ? st : done(e, NULL, 0);
}

static enum emu_status op_hlt(struct emu *e)
{
	return plain(e, "hlt", 0);
}

static enum emu_status op_invlpg(struct emu *e, u64 linear)
{
	return plain(e, "invlpg", linear);
}

static enum emu_status op_wbinvd(struct emu *e)
{
	return plain(e, "wbinvd", 0);
}

static enum emu_status op_hypercall(struct emu *e)
{
	enum emu_status st = plain(e, "hypercall", 0);

	if (!st)
		e->regs.gpr[0] = 0x4859;
	return st;
}

/* In this machine CR8 says whether it is in system management mode. */
static enum emu_status op_rsm(struct emu *e)
{
	enum emu_status st = plain(e, "rsm", 0);

	if (st)
		return st;
	if (!e->regs.cr8)
		return emu_raise(e, 6, false, 0);
	e->regs.gpr[0] = 0x5253;
	e->regs.rflags = 0x10246;
	e->next_rip = 0x4321;
	e->shadow = EMU_SHADOW_STI;
	e->resumed = true;
	return EMU_OK;
}

static enum emu_status op_xsetbv(struct emu *e, u32 index, u64 val)
{
	struct machine *m = e->ctx;
	enum emu_status st;

	if (begin(e, "xsetbv", index, 8, 0, &val, NULL, &st))
		return st;
	m->xcr0 = val;
	return done(e, NULL, 0);
}

static enum emu_status op_xgetbv(struct emu *e, u32 index, u64 *val)
{
	struct machine *m = e->ctx;
	enum emu_status st;

	if (begin(e, "xgetbv", index, 8, 0, NULL, val, &st))
		return st;
	*val = m->xcr0;
	return done(e, val, 8);
}

static enum emu_status op_read_vec(struct emu *e, unsigned int reg, void *buf, unsigned int len)
{
	struct machine *m = e->ctx;
	enum emu_status st;

	if (begin(e, "read_vec", reg, len, 0, NULL, buf, &st))
		return st;
	memcpy(buf, m->vec[reg], len);
	return done(e, buf, len);
}

static enum emu_status op_write_vec(struct emu *e, unsigned int reg, const void *buf,
				    unsigned int len, bool zero)
{
	struct machine *m = e->ctx;
	enum emu_status st;

	if (begin(e, "write_vec", reg, len, zero, buf, NULL, &st))
		return st;
	if (zero)
		memset(m->vec[reg], 0, 32);
	memcpy(m->vec[reg], buf, len);
	return done(e, NULL, 0);
}

static enum emu_status op_read_mmx(struct emu *e, unsigned int reg, u64 *val)
{
	struct machine *m = e->ctx;
	enum emu_status st;

	if (begin(e, "read_mmx", reg, 8, 0, NULL, val, &st))
		return st;
	*val = m->mmx[reg];
	return done(e, val, 8);
}

static enum emu_status op_write_mmx(struct emu *e, unsigned int reg, u64 val)
{
	struct machine *m = e->ctx;
	enum emu_status st;

	if (begin(e, "write_mmx", reg, 8, 0, &val, NULL, &st))
		return st;
	m->mmx[reg] = val;
	return done(e, NULL, 0);
}

static enum emu_status word(struct emu *e, const char *op, u16 *val, u16 answer)
{
	enum emu_status st;

	if (begin(e, op, 0, 2, 0, NULL, val, &st))
		return st;
	*val = answer;
	return done(e, val, 2);
}

static enum emu_status op_fnstcw(struct emu *e, u16 *val)
{
	return word(e, "fnstcw", val, 0x37f);
}

static enum emu_status op_fnstsw(struct emu *e, u16 *val)
{
	return word(e, "fnstsw", val, 0);
}

static enum emu_status op_task(struct emu *e, enum emu_task_reason reason)
{
	struct machine *m = e->ctx;

	m->task_reason = reason;
	return m->task_status;
}

/* What decoding must not look at, swapped between the emulation and @m->rest. */
static void swap_rest(struct machine *m, struct emu_regs *r)
{
	struct emu_regs saved = *r;

	memcpy(r->seg, m->rest.seg, sizeof(r->seg));
	r->seg[EMU_CS] = saved.seg[EMU_CS];
	r->gdtr = m->rest.gdtr;
	r->idtr = m->rest.idtr;
	r->cr3 = m->rest.cr3;
	m->rest = saved;
	m->hidden = !m->hidden;
}

static enum emu_status op_prepare(struct emu *e)
{
	struct machine *m = e->ctx;

	if (m->hidden)
		swap_rest(m, &e->regs);
	return EMU_OK;
}

const struct emu_ops machine_ops = {
	.prepare	= op_prepare,
	.fetch		= op_fetch,
	.read		= op_read,
	.write		= op_write,
	.cmpxchg	= op_cmpxchg,
	.probe		= op_probe,
	.in		= op_in,
	.out		= op_out,
	.set_cr		= op_set_cr,
	.task		= op_task,
	.get_dr		= op_get_dr,
	.set_dr		= op_set_dr,
	.rdmsr		= op_rdmsr,
	.wrmsr		= op_wrmsr,
	.cpuid		= op_cpuid,
	.rdtsc		= op_rdtsc,
	.rdpmc		= op_rdpmc,
	.hlt		= op_hlt,
	.invlpg		= op_invlpg,
	.wbinvd		= op_wbinvd,
	.hypercall	= op_hypercall,
	.rsm		= op_rsm,
	.xsetbv		= op_xsetbv,
	.xgetbv		= op_xgetbv,
	.read_vec	= op_read_vec,
	.write_vec	= op_write_vec,
	.read_mmx	= op_read_mmx,
	.write_mmx	= op_write_mmx,
	.fnstcw		= op_fnstcw,
	.fnstsw		= op_fnstsw,
};

/*
 * Run from the start until something other than EMU_IO comes out, as KVM_RUN after KVM_RUN would.
 */
enum emu_status machine_run(struct machine *m, struct emu *e, const struct emu *start,
			    enum emu_status (*run)(struct emu *e))
{
	enum emu_status st;

	m->nr_steps = 0;
	do {
		*e = *start;
		e->ops = &machine_ops;
		e->ctx = m;
		m->pos = 0;
		if (run == emulate) {
			memset(&m->rest, 0xa5, sizeof(m->rest));
			m->hidden = false;
			swap_rest(m, &e->regs);
		}
		st = run(e);
		if (run == emulate && m->hidden)
			swap_rest(m, &e->regs);
	} while (st == EMU_IO);
	return st;
}
