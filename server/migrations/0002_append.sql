-- Appends sealed messages to many logs in one trip and, called outside a transaction, in one
-- transaction of its own. Arrays run in parallel; a (sender, client id) occurs once per log.
-- First locks the logs' rows, in the order of their ids so that no two writers wait for each
-- other; then, in a statement of its own and therefore on a snapshot taken after the locks, judges
-- and stores. One row for each message:
--   verdict 0 stored now, 1 stored before, 2 no member, 3 another generation, 4 another epoch;
--   seq and stored_at_ms of the entry (null where there is none);
--   epoch after the entry, or the log's where there is none; generation of the log.
CREATE FUNCTION append_messages(
    logs bytea[], generations integer[], epochs bigint[], senders bytea[], client_ids bytea[],
    payloads bytea[], application_kind smallint, commit_kind smallint
) RETURNS TABLE (
    place bigint, verdict integer, seq bigint, epoch bigint, generation integer, stored_at_ms bigint
) LANGUAGE plpgsql AS $$
#variable_conflict use_column
BEGIN
    PERFORM FROM conversation WHERE id = ANY (logs) AND kind = 1 ORDER BY id FOR NO KEY UPDATE;
    RETURN QUERY
    WITH known AS MATERIALIZED (
        SELECT i.place, i.log, i.sender, i.client_id, i.payload,
               c.head, c.epoch, c.generation,
               e.seq AS known_seq, e.epoch + (e.kind = commit_kind)::integer AS known_epoch,
               e.stored_at AS known_at,
               CASE WHEN e.seq IS NOT NULL THEN 1
                    WHEN c.id IS NULL OR m.device_id IS NULL THEN 2
                    WHEN c.generation <> i.generation THEN 3
                    WHEN c.epoch <> i.epoch THEN 4
                    ELSE 0 END AS verdict
        FROM unnest(logs, generations, epochs, senders, client_ids, payloads) WITH ORDINALITY
             AS i (log, generation, epoch, sender, client_id, payload, place)
        LEFT JOIN conversation c ON c.id = i.log AND c.kind = 1
        LEFT JOIN member m ON m.conversation_id = i.log AND m.device_id = i.sender
             AND m.left_at_seq IS NULL AND NOT m.gone
        LEFT JOIN envelope e ON e.conversation_id = i.log AND e.sender_device = i.sender
             AND e.client_id = i.client_id
    ), judged AS MATERIALIZED (
        SELECT k.*, CASE WHEN k.verdict = 0 THEN
                   k.head + row_number() OVER (PARTITION BY k.log, k.verdict ORDER BY k.place)
               ELSE k.known_seq END AS seq
        FROM known k
    ), grown AS (
        UPDATE conversation c SET head = j.head
        FROM (SELECT log, max(seq) AS head FROM judged WHERE verdict = 0 GROUP BY log) j
        WHERE c.id = j.log
    ), stored AS (
        INSERT INTO envelope (conversation_id, seq, generation, epoch, kind, sender_device,
                              client_id, payload, stored_at)
        SELECT log, seq, generation, epoch, application_kind, sender, client_id, payload, now()
        FROM judged WHERE verdict = 0
    )
    SELECT j.place, j.verdict, j.seq, coalesce(j.known_epoch, j.epoch), j.generation,
           (extract(epoch FROM CASE WHEN j.verdict = 0 THEN now() ELSE j.known_at END)
               * 1000)::bigint
    FROM judged j;
END
$$;

-- Appends messages that are probably all new, by members, of the present epoch: the same as
-- append_messages at about half the cost, or error SO001 (and so nothing) if one of them is not.
-- Arrays of logs run in parallel, as do those of messages: a message is the nth of its batch in
-- the log at a place among the logs. Logs must be in the order of their ids: their rows are locked
-- in it. Who is a member is looked up in a statement of its own, on a snapshot taken after the
-- locks. Returned are the heads before the batch.
CREATE FUNCTION append_fresh(
    logs bytea[], generations integer[], epochs bigint[], counts integer[],
    places integer[], nths integer[], senders bytea[], client_ids bytea[], payloads bytea[],
    application_kind smallint, OUT heads bigint[], OUT stored_at_ms bigint
) LANGUAGE plpgsql AS $$
DECLARE
    stored bigint;
BEGIN
    WITH grown AS (
        UPDATE conversation c SET head = c.head + i.count
        FROM unnest(logs, generations, epochs, counts) WITH ORDINALITY
             AS i (log, generation, epoch, count, place)
        WHERE c.id = i.log AND c.kind = 1 AND c.generation = i.generation AND c.epoch = i.epoch
        RETURNING i.place, c.head - i.count AS head
    )
    SELECT array_agg(g.head ORDER BY g.place) INTO heads FROM grown g;
    IF cardinality(heads) IS DISTINCT FROM cardinality(logs) THEN
        RAISE SQLSTATE 'SO001';
    END IF;
    INSERT INTO envelope (conversation_id, seq, generation, epoch, kind, sender_device, client_id,
                          payload, stored_at)
    SELECT logs[i.place], heads[i.place] + i.nth, generations[i.place], epochs[i.place],
           application_kind, i.sender, i.client_id, i.payload, now()
    FROM unnest(places, nths, senders, client_ids, payloads)
         AS i (place, nth, sender, client_id, payload)
    JOIN member m ON m.conversation_id = logs[i.place] AND m.device_id = i.sender
         AND m.left_at_seq IS NULL AND NOT m.gone;
    GET DIAGNOSTICS stored = ROW_COUNT;
    IF stored <> cardinality(client_ids) THEN
        RAISE SQLSTATE 'SO001';
    END IF;
    stored_at_ms := (extract(epoch FROM now()) * 1000)::bigint;
END
$$;
