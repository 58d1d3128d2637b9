-- Finds the conversations that an account's ended devices are still in, when it gets another identity.
CREATE INDEX member_gone ON member (account_id) WHERE gone;
